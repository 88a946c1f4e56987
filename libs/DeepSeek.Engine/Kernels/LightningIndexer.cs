using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>
/// The keys of every query, the same for all its heads: Index int32 [N, T, most], strictly ascending (S behind the count), and
/// Count int32 [N, T].
/// </summary>
public readonly record struct TokenSelection(Tensor Index, Tensor Count);

/// <summary>Rows in floating point, or the bits of FP8 E4M3 in uint8 with a float32 scale for each row.</summary>
public readonly record struct IndexerRows(Tensor Values, Tensor Scales = default)
{
    /// <summary>Rows without scales.</summary>
    public static implicit operator IndexerRows(Tensor values) => new(values);
}

/// <summary>
/// The lightning indexer of DeepSeek-V3.2-Exp (2025, eq. 1): I[t, s] = Σ_h w[t, h] · ReLU(q[t, h] · k[s]), one key for all heads; the
/// exact choice of each query's greatest; and the loss that it learns from (eq. 3 and 4). Queries are [N, T, heads, dim], keys
/// [N, S, dim], weights [N, T, heads]. Query t sees key s, if causal, when s ≤ t + length − T, the length being S or the sequence's own.
/// </summary>
public static class LightningIndexer
{
    /// <summary>An indexer's heads · dim is at most this part of the attention's heads · 2 · dim.</summary>
    public const int BudgetDivisor = 16;

    private static readonly Operator s_logits = new("deepseek::indexer_logits");
    private static readonly Operator s_select = new("deepseek::indexer_select");
    private static readonly Operator s_loss = new("deepseek::indexer_loss");
    private static readonly Operator s_quantize = new("deepseek::quantize_rows");

    /// <summary>float32 [N, T, S] (float64 for float64 inputs), −∞ where a key is not seen. It has no gradient: <see cref="Loss"/> does.</summary>
    /// <param name="q">[N, T, heads, dim]; float32, bfloat16, float16, float64, or FP8 with scales [N, T, heads].</param>
    /// <param name="k">[N, S, dim] of q's type; scales [N, S].</param>
    /// <param name="weights">[N, T, heads].</param>
    /// <param name="causal">Whether a query sees the keys up to its own place only.</param>
    /// <param name="lengths">int32 [N]: keys that exist; none: all.</param>
    public static Tensor Logits(IndexerRows q, IndexerRows k, Tensor weights, bool causal = true, Tensor lengths = default) =>
        OperatorCall.To(s_logits).Add(q.Values).Add(k.Values).Add(weights).Add(causal).Add(q.Scales).Add(k.Scales).Add(lengths).One();

    /// <summary>
    /// The keys with the greatest logits of every query, ties by the lowest key; all that it sees where there are no more than wanted.
    /// No more than a few queries' logits exist at a time. On CUDA at most 2048 keys are chosen from more.
    /// </summary>
    /// <param name="q">As in <see cref="Logits"/>.</param>
    /// <param name="k">As in <see cref="Logits"/>.</param>
    /// <param name="weights">[N, T, heads].</param>
    /// <param name="most">Keys a query, at least 1.</param>
    /// <param name="causal">As in <see cref="Logits"/>.</param>
    /// <param name="lengths">As in <see cref="Logits"/>.</param>
    public static TokenSelection Select(IndexerRows q, IndexerRows k, Tensor weights, long most, bool causal = true, Tensor lengths = default)
    {
        var (index, count) = OperatorCall.To(s_select).Add(q.Values).Add(k.Values).Add(weights).Add(most).Add(causal).Add(q.Scales).Add(k.Scales).Add(lengths).Two();
        return new(index, count);
    }

    /// <summary>
    /// Mean over the queries of KL(p ‖ softmax(I)), where p is the attention's distribution, summed over the heads and normalised: over
    /// all keys that a query sees (dense warm-up), or over those of a selection. Gradients go to the indexer's inputs only; make them
    /// from a detached stream to train the indexer apart, as the report does. A query without keys counts as 0.
    /// </summary>
    /// <param name="q">The attention's queries [N, H, T, D], a constant here.</param>
    /// <param name="k">Its keys [N, Hkv, S, D], a constant here.</param>
    /// <param name="indexQ">[N, T, heads, dim], not FP8.</param>
    /// <param name="indexK">[N, S, dim].</param>
    /// <param name="weights">[N, T, heads].</param>
    /// <param name="selection">The keys that take part; none: all, by <paramref name="causal"/>.</param>
    /// <param name="causal">Of no meaning with a selection.</param>
    /// <returns>One float32 (float64 for float64 inputs), in nats.</returns>
    public static Tensor Loss(Tensor q, Tensor k, Tensor indexQ, Tensor indexK, Tensor weights, TokenSelection? selection = null, bool causal = true) =>
        OperatorCall.To(s_loss).Add(q).Add(k).Add(indexQ).Add(indexK).Add(weights).Add(selection?.Index ?? default).Add(selection?.Count ?? default).Add(causal).One();

    /// <summary>Rows [.., dim] as FP8 E4M3 with a scale each, the row's greatest size over 448; nearest, ties to even. It has no gradient.</summary>
    public static IndexerRows Quantize(Tensor x)
    {
        var (codes, scales) = OperatorCall.To(s_quantize).Add(x).Two();
        return new(codes, scales);
    }

    /// <summary>Throws when an indexer would cost more than 1/16 of the attention's products: it would then bound what sparsity can gain.</summary>
    /// <exception cref="ArgumentException">The indexer is too large.</exception>
    public static void RequireBudget(int heads, int dim, int indexerHeads, int indexerDim)
    {
        var (own, attention) = ((long)indexerHeads * indexerDim, 2L * heads * dim);
        if (indexerHeads < 1 || indexerDim < 1)
        {
            throw new ArgumentException($"An indexer of {indexerHeads} heads of {indexerDim} elements has nothing to choose by.", nameof(indexerHeads));
        }
        if (own * BudgetDivisor > attention)
        {
            throw new ArgumentException(
                $"An indexer of {indexerHeads} heads of {indexerDim} elements has {own} dimensions; attention of {heads} heads of {dim} allows {attention / BudgetDivisor}, 1/{BudgetDivisor} of its {attention} (queries · keys and weights · values).",
                nameof(indexerHeads));
        }
    }
}
