using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// A learned estimate of the attention between blocks: means of a block's queries and keys, each through a linear layer, and a
/// softmax over the key blocks that are visible; learned from what the attention really does (after Gao et al., SeerAttention,
/// arXiv 2410.13276). It costs 1/(query block · key block) of dense attention's products.
/// </summary>
public sealed class BlockGate : Module
{
    // Far below any logit, and finite: 0 times it stays 0 in the loss.
    private const double Hidden = -1e9;
    // Far below the sum of any row that sees a block.
    private const double Least = 1e-20;

    private readonly SparsePolicy _policy;
    private readonly Linear _query;
    private readonly Linear _key;
    private readonly double _scale;
    // Never freed before the gate: a captured step reads its mask where it lay. By blocks where queries and keys are as many, since the last
    // row then sees all; by rows otherwise.
    private readonly Dictionary<(bool Square, long Queries, long Keys, Device Device), TensorHandle> _masks = [];

    /// <summary>For heads of <paramref name="dim"/> elements, compared in <paramref name="width"/> dimensions; the weights serve all heads.</summary>
    public BlockGate(int dim, int width, SparsePolicy policy)
    {
        _policy = policy;
        _query = Child("query", new Linear(dim, width, bias: false));
        _key = Child("key", new Linear(dim, width, bias: false));
        _scale = 1 / Math.Sqrt(width);
    }

    /// <summary>Estimated shares, float32 [N, H, query blocks, key blocks], for <see cref="SparseAttention.Select"/>: q [N, H, T, D], k [N, Hkv, S, D].</summary>
    public Tensor Shares(Tensor q, Tensor k, bool causal)
    {
        using var scope = TensorScope.Open();
        return scope.Return(Logits(q, k, causal).Softmax(-1));
    }

    /// <summary>
    /// What the gate learns from: the mean over query blocks of the cross entropy between the estimate of
    /// <see cref="SparseAttention.BlockScores"/>, as shares that sum to 1, and its own. Only the gate gets gradients; q and k are taken as they are.
    /// </summary>
    public Tensor Loss(Tensor q, Tensor k, bool causal)
    {
        using var scope = TensorScope.Open();
        return scope.Return(Loss(q, k, causal, SparseAttention.BlockScores(q, k, _policy, causal)));
    }

    /// <summary>The same towards scores that are there already, [N, H, query blocks, key blocks].</summary>
    public Tensor Loss(Tensor q, Tensor k, bool causal, Tensor scores)
    {
        using var scope = TensorScope.Open();
        var target = scores.Detach().To(Dtype.Float32);
        target = target / (target.Sum(-1).Unsqueeze(-1) + Least);
        var logs = Logits(q.Detach(), k.Detach(), causal).LogSoftmax(-1);
        return scope.Return((target * logs).Sum(-1).Mean() * -1);
    }

    /// <summary>The shares of causal attention of x [N, H, T, D] to itself.</summary>
    protected override Tensor Compute(Tensor x) => Shares(x, x, causal: true);

    private Tensor Logits(Tensor q, Tensor k, bool causal)
    {
        var (n, heads, queries, kvHeads, keys) = (q.Size(0), q.Size(1), q.Size(2), k.Size(1), k.Size(2));
        if (causal && keys < queries)
        {
            throw new ArgumentException($"{queries} causal queries have only {keys} keys: the first ones see none.", nameof(k));
        }
        var a = _query.Forward(Means(q, _policy.QueryBlock).To(_query.Weight.Tensor.Dtype)); // [N, H, query blocks, width]
        var b = _key.Forward(Means(k, _policy.KeyBlock).To(_key.Weight.Tensor.Dtype)); // [N, Hkv, key blocks, width]
        var (rows, columns, width) = (a.Size(2), b.Size(2), a.Size(3));
        var logits = a.Reshape(n, kvHeads, heads / kvHeads * rows, width).MatMul(b.Transpose(2, 3)).Reshape(n, heads, rows, columns).To(Dtype.Float32) * _scale;
        return causal ? logits + Mask(queries, keys, rows, columns, logits.Device) : logits;
    }

    // [.., rows, dim] → float32 means of blocks of rows [.., blocks, dim]; the last block may be short.
    private static Tensor Means(Tensor x, int block)
    {
        x = x.To(Dtype.Float32);
        var (rows, whole) = (x.Size(2), x.Size(2) / block);
        var means = x.Narrow(2, 0, whole * block).Reshape(x.Size(0), x.Size(1), whole, block, x.Size(3)).Mean(3);
        return whole * block == rows ? means : Tensor.Cat([means, x.Narrow(2, whole * block, rows - whole * block).Mean(2, keep: true)], 2);
    }

    private Tensor Mask(long queries, long keys, long rows, long columns, Device device)
    {
        var sizes = queries == keys ? (true, rows, columns, device) : (false, queries, keys, device);
        if (_masks.TryGetValue(sizes, out var known))
        {
            return known.Tensor;
        }
        var mask = new float[rows * columns];
        for (var i = 0L; i < mask.Length; i++)
        {
            var last = Math.Min((i / columns + 1) * _policy.QueryBlock, queries) - 1 + keys - queries;
            mask[i] = i % columns * _policy.KeyBlock <= last ? 0f : (float)Hidden;
        }
        return (_masks[sizes] = Tensor.From<float>(mask, rows, columns).To(device).Keep()).Tensor;
    }
}
