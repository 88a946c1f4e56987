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

    private readonly SparsePolicy _policy;
    private readonly Linear _query;
    private readonly Linear _key;
    private readonly double _scale;

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
    /// <see cref="SparseAttention.BlockScores"/> and its own. Only the gate gets gradients; q and k are taken as they are.
    /// </summary>
    public Tensor Loss(Tensor q, Tensor k, bool causal)
    {
        using var scope = TensorScope.Open();
        var target = SparseAttention.BlockScores(q, k, _policy, causal).To(Dtype.Float32); // [N, H, query blocks, key blocks]
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
        var a = _query.Forward(Means(q, _policy.QueryBlock)); // [N, H, query blocks, width]
        var b = _key.Forward(Means(k, _policy.KeyBlock)); // [N, Hkv, key blocks, width]
        var (rows, columns, width) = (a.Size(2), b.Size(2), a.Size(3));
        var logits = a.Reshape(n, kvHeads, heads / kvHeads * rows, width).MatMul(b.Transpose(2, 3)).Reshape(n, heads, rows, columns) * _scale;
        return causal ? logits + Mask(queries, keys, rows, columns).To(logits.Device) : logits;
    }

    // [.., rows, dim] → float32 means of blocks of rows [.., blocks, dim]; the last block may be short.
    private static Tensor Means(Tensor x, int block)
    {
        var (rows, blocks) = (x.Size(2), (x.Size(2) + block - 1) / block);
        var whole = x.To(Dtype.Float32).Pad([0, 0, 0, blocks * block - rows]).Reshape(x.Size(0), x.Size(1), blocks, block, x.Size(3));
        var counts = new float[blocks];
        for (var i = 0; i < blocks; i++)
        {
            counts[i] = 1f / Math.Min(block, rows - (long)i * block);
        }
        return whole.Sum(3) * Tensor.From<float>(counts, blocks, 1).To(x.Device);
    }

    private Tensor Mask(long queries, long keys, long rows, long columns)
    {
        var mask = new float[rows * columns];
        for (var i = 0L; i < mask.Length; i++)
        {
            var last = Math.Min((i / columns + 1) * _policy.QueryBlock, queries) - 1 + keys - queries;
            mask[i] = i % columns * _policy.KeyBlock <= last ? 0f : (float)Hidden;
        }
        return Tensor.From<float>(mask, rows, columns);
    }
}
