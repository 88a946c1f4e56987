using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>How a layer chooses the tokens that it attends to.</summary>
public sealed record TokenSparsePolicy
{
    /// <summary>Keys a query attends to at most; on CUDA at most 2048.</summary>
    public int Tokens { get; init; } = 2048;

    /// <summary>Heads of the indexer. Heads · <see cref="IndexerDim"/> is at most 1/16 of the attention's heads · 2 · dim.</summary>
    public int IndexerHeads { get; init; } = 1;

    /// <summary>Elements of an indexer head.</summary>
    public int IndexerDim { get; init; } = 64;

    /// <summary>Chooses by FP8 E4M3 rows with a scale each, which is also what a cache holds; the loss is made in full precision.</summary>
    public bool Fp8 { get; init; } = true;
}

/// <summary>What a <see cref="TokenSparseAttention"/> attends to, and what its indexer learns from.</summary>
public enum IndexerStage
{
    /// <summary>Everything that is visible; the indexer learns from the whole distribution (dense warm-up).</summary>
    WarmUp,
    /// <summary>The chosen tokens; the indexer learns from the distribution over these.</summary>
    Sparse,
}

/// <summary>
/// A layer's causal attention to the tokens that its lightning indexer picks for each query, the same for all heads (DeepSeek-V3.2-Exp,
/// 2025, section 1): takes the place of <see cref="Functional.Attention"/> on projected heads, in training, prefill and decode. The
/// indexer's queries, keys and weights are projections of the layer's input, cut off from it: the layer learns from the model's loss,
/// the indexer from its own (<see cref="TakeLoss"/>), and both may go through one backward pass.
/// </summary>
public sealed class TokenSparseAttention : Module
{
    private readonly Linear _query;
    private readonly Linear _key;
    private readonly LayerNorm _keyNorm;
    private readonly Linear _weight;
    private readonly double _scale;
    private TensorHandle? _loss;
    private TensorHandle? _index;
    private TensorHandle? _count;
    private long _keys;

    /// <summary>For a layer input of <paramref name="width"/> and <paramref name="heads"/> query heads of <paramref name="dim"/>.</summary>
    /// <exception cref="ArgumentException">The indexer is larger than 1/16 of the attention, or chooses nothing.</exception>
    public TokenSparseAttention(int width, int heads, int dim, TokenSparsePolicy policy)
    {
        LightningIndexer.RequireBudget(heads, dim, policy.IndexerHeads, policy.IndexerDim);
        Policy = policy.Tokens > 0 ? policy : throw new ArgumentException($"{policy.Tokens} tokens a query: at least one is needed.", nameof(policy));
        _query = Child("wq", new Linear(width, policy.IndexerHeads * policy.IndexerDim, bias: false));
        _key = Child("wk", new Linear(width, policy.IndexerDim, bias: false));
        _keyNorm = Child("k_norm", new LayerNorm(policy.IndexerDim));
        _weight = Child("weights_proj", new Linear(width, policy.IndexerHeads, bias: false));
        _scale = 1 / Math.Sqrt((double)policy.IndexerHeads * policy.IndexerDim);
    }

    /// <summary>What is chosen.</summary>
    public TokenSparsePolicy Policy { get; }

    /// <summary>Which tokens take part.</summary>
    public IndexerStage Stage { get; set; } = IndexerStage.Sparse;

    /// <summary>Whether passes in training make the indexer's loss.</summary>
    public bool Learns { get; set; } = true;

    /// <summary>Remembers what each call chose, so that <see cref="Density"/> and <see cref="Chosen"/> can tell.</summary>
    public bool Reports { get; set; }

    /// <summary>The layer's input [N, T, width] and its heads q [N, H, T, D], k and v [N, Hkv, T, D] → [N, H, T, D].</summary>
    /// <param name="dropout">Share of the weights dropped in the warm-up, where attention is dense.</param>
    public Tensor Forward(Tensor x, Tensor q, Tensor k, Tensor v, double dropout = 0)
    {
        using var scope = TensorScope.Open();
        var (indexQ, indexK, weights) = Project(x);
        TokenSelection? selection = null;
        if (Stage == IndexerStage.Sparse || Reports)
        {
            selection = Select(Rows(indexQ), Rows(indexK), weights);
            Report(selection.Value, k.Size(2));
        }
        var chosen = Stage == IndexerStage.Sparse ? selection : null;
        if (Training && Learns)
        {
            if (Checkpoint.IsDropping)
            {
                throw new InvalidOperationException("Inside a checkpoint the indexer's loss would be cut off from its graph: let this block keep its activations, or unset Learns.");
            }
            _loss?.Dispose();
            _loss = LightningIndexer.Loss(q.Detach(), k.Detach(), indexQ, indexK, weights, chosen).Keep();
        }
        return scope.Return(chosen is { } tokens ? GatherAttention.Of(q, k, v, tokens).Output : Functional.Attention(q, k, v, causal: true, dropout: dropout));
    }

    /// <summary>The same for T further tokens of sequences whose keys and values are in a cache; adds theirs. Nothing is recorded for differentiation.</summary>
    public Tensor Extend(Tensor x, Tensor q, Tensor k, Tensor v, TokenSparseCache cache)
    {
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var (indexQ, indexK, weights) = Project(x);
        cache.Add(k, v, Rows(indexK));
        var selection = Select(Rows(indexQ), cache.IndexRows, weights);
        if (Reports)
        {
            Report(selection, cache.Length);
        }
        return scope.Return(GatherAttention.Of(q, cache.Keys, cache.Values, selection).Output);
    }

    /// <summary>An empty cache for N sequences of up to so many tokens, where the weights are.</summary>
    public TokenSparseCache Cache(long sequences, long kvHeads, long dim, long capacity, Dtype dtype = Dtype.Float32) =>
        new(sequences, kvHeads, dim, Policy.IndexerDim, capacity, dtype, Policy.Fp8, Device);

    /// <summary>The last training pass's loss of the indexer (one float32), given away once: add it to the model's loss or differentiate it alone.</summary>
    /// <exception cref="InvalidOperationException">There was no pass in training since the last call.</exception>
    public Tensor TakeLoss()
    {
        using var loss = _loss ?? throw new InvalidOperationException("There is no indexer loss: pass something through the layer in training first, with Learns set.");
        _loss = null;
        return loss.Tensor * 1;
    }

    /// <summary>Keys chosen over keys visible in the last call with <see cref="Reports"/>; none before it. Reads the device.</summary>
    public double? Density()
    {
        if (_count is null)
        {
            return null;
        }
        using var scope = TensorScope.Open();
        var (sequences, queries) = (_count.Tensor.Size(0), _count.Tensor.Size(1));
        var visible = 0L;
        for (var t = 0L; t < queries; t++)
        {
            visible += t + 1 + _keys - queries;
        }
        return _count.Tensor.To(Dtype.Float64).Sum().Item() / (sequences * visible);
    }

    /// <summary>What the last call with <see cref="Reports"/> chose, valid until the next; none before it.</summary>
    public TokenSelection? Chosen => _index is null ? null : new TokenSelection(_index.Tensor, _count!.Tensor);

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => throw new NotSupportedException("Token-sparse attention takes projected heads too: Forward(x, q, k, v).");

    private (Tensor Q, Tensor K, Tensor Weights) Project(Tensor x)
    {
        x = x.Detach();
        var (n, length) = (x.Size(0), x.Size(1));
        var q = _query.Forward(x).Reshape(n, length, Policy.IndexerHeads, Policy.IndexerDim);
        return (q.To(Dtype.Float32), _keyNorm.Forward(_key.Forward(x)).To(Dtype.Float32), _weight.Forward(x).To(Dtype.Float32) * _scale);
    }

    private IndexerRows Rows(Tensor x) => Policy.Fp8 ? LightningIndexer.Quantize(x) : x.Detach();

    private TokenSelection Select(IndexerRows q, IndexerRows k, Tensor weights) =>
        LightningIndexer.Select(q, k, weights.Detach(), Math.Min(Policy.Tokens, k.Values.Size(1)));

    private void Report(TokenSelection selection, long keys)
    {
        if (!Reports)
        {
            return;
        }
        _index?.Dispose();
        _count?.Dispose();
        (_index, _count, _keys) = (selection.Index.Keep(), selection.Count.Keep(), keys);
    }
}
