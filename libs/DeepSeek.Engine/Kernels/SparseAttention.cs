using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>Which key blocks <see cref="SparseAttention.Of"/> keeps for every block of queries.</summary>
public sealed record SparsePolicy
{
    /// <summary>Share of the visible key blocks that is kept at most, in (0, 1]; 1: no limit.</summary>
    public double Density { get; init; } = 0.1;

    /// <summary>Share of the estimated attention that is kept, in (0, 1]; below 1 the fewest blocks that reach it, within <see cref="Density"/>.</summary>
    public double Mass { get; init; } = 1;

    /// <summary>First key blocks, always kept.</summary>
    public int SinkBlocks { get; init; } = 1;

    /// <summary>Key blocks on either side of the diagonal, always kept; the diagonal itself always is.</summary>
    public int WindowBlocks { get; init; } = 1;

    /// <summary>Key blocks kept at least, where so many are visible.</summary>
    public int MinimumBlocks { get; init; } = 1;

    /// <summary>Queries of a block; 128 and 64 are the fast sizes on a GPU.</summary>
    public int QueryBlock { get; init; } = 128;

    /// <summary>Keys of a block; 128 and 64 are the fast sizes on a GPU.</summary>
    public int KeyBlock { get; init; } = 128;

    /// <summary>
    /// Spends the density on the blocks of all heads of a query block together, by score, so that heads whose attention is narrow leave their
    /// part to those that look far; blocks equal to the last are kept too. It leaves no choice by <see cref="Mass"/>.
    /// </summary>
    public bool SharedBudget { get; init; }

    /// <summary>Rows that count as one in the estimate; it divides both blocks. The estimate costs about 1/(2 · stride) of dense attention.</summary>
    public int Stride { get; init; } = 16;

    /// <summary>What the estimate looks at.</summary>
    public BlockEstimate Estimate { get; init; }

    /// <summary>Power of the mean over the estimate's rows of a block: 1, 2 or infinity, their maximum. The higher, the more one query that needs a block counts.</summary>
    public double Power { get; init; } = 1;

    /// <summary>
    /// Power of the mean over every query of a sequence's newest block, which then takes the estimate's place for that block; 0: it is estimated as the others. What follows
    /// a text comes from its newest queries, so what any of them looks for is worth the cost, which is that of one block.
    /// </summary>
    public double NewestPower { get; init; }

    /// <summary>
    /// Estimates for a block of queries from its first query and those in front of it, as many as a block has, so that no query profits from what comes after it. Only in causal
    /// attention, and not with <see cref="BlockEstimate.Pooled"/>.
    /// </summary>
    public bool CausalChoice { get; init; }
}

/// <summary>How a block's share of the attention is estimated.</summary>
public enum BlockEstimate
{
    /// <summary>Groups of a stride's rows by the sum over their antidiagonal (Xu et al., XAttention, arXiv 2503.16428).</summary>
    Antidiagonal,

    /// <summary>Groups of a stride's rows by the product of their means: cheapest, coarsest.</summary>
    Pooled,

    /// <summary>The last query of each stride with every key, exactly, of a short last stride the newest query: finds what single queries look for, such as copies.</summary>
    Sampled,
}

/// <summary>The key blocks of every query block: Index int32 [N, H, query blocks, most], ascending, −1 behind the count; Count int32 [N, H, query blocks].</summary>
public readonly record struct BlockSelection(Tensor Index, Tensor Count);

/// <summary>
/// Attention of query blocks to the key blocks that their lists name. Pairs outside take no part in the softmax; a row that sees
/// nothing gives 0. Forward and backward are deterministic. Heads of 64 or 128 in bfloat16 or float16 with blocks in multiples of
/// 64 take the Hopper kernels; float64 is computed by plain operators.
/// </summary>
public static class SparseAttention
{
    private static readonly Operator s_attention = new("deepseek::block_sparse_attention");
    private static readonly Operator s_scores = new("deepseek::block_scores");
    private static readonly Operator s_select = new("deepseek::select_blocks");

    /// <summary>Attention with given lists.</summary>
    /// <param name="q">[N, H, T, D].</param>
    /// <param name="k">[N, Hkv, S, D], Hkv a divisor of H.</param>
    /// <param name="v">Like k.</param>
    /// <param name="selection">Lists for N and for H heads or a divisor of H; an entry appears once in its list.</param>
    /// <param name="queryBlock">Queries of a block.</param>
    /// <param name="keyBlock">Keys of a block.</param>
    /// <param name="causal">Query i sees key j when j ≤ i + (S − T), with the lengths below in place of S and T where given.</param>
    /// <param name="queryLengths">int32 [N]: rows behind them give 0, whatever they hold; none: all exist.</param>
    /// <param name="keyLengths">int32 [N]: keys behind them are not seen, whatever they hold.</param>
    /// <returns>[N, H, T, D] of q's type, and float32 [N, H, T]: the logarithm of each row's softmax sum, without a gradient.</returns>
    public static (Tensor Output, Tensor LogSum) WithBlocks(Tensor q, Tensor k, Tensor v, BlockSelection selection, int queryBlock, int keyBlock, bool causal, Tensor queryLengths = default, Tensor keyLengths = default) =>
        OperatorCall.To(s_attention).Add(q).Add(k).Add(v).Add(selection.Index).Add(selection.Count).Add((long)queryBlock).Add((long)keyBlock).Add(causal).Default().Add(queryLengths).Add(keyLengths).Two();

    /// <summary>
    /// Estimated share of each key block in a query block's attention, float32 [N, H, query blocks, key blocks]: the softmax of the rows
    /// that <see cref="SparsePolicy.Estimate"/> names, averaged by <see cref="SparsePolicy.Power"/>. It has no gradient. Groups
    /// that reach behind the lengths (int32 [N], as in <see cref="WithBlocks"/>) take no part, whatever they hold; of samples, the last query that exists stands for its group.
    /// </summary>
    public static Tensor BlockScores(Tensor q, Tensor k, SparsePolicy policy, bool causal, Tensor queryLengths = default, Tensor keyLengths = default) =>
        OperatorCall.To(s_scores).Add(q).Add(k).Add((long)policy.QueryBlock).Add((long)policy.KeyBlock).Add(causal).Default().Add((long)policy.Stride).Add((long)policy.Estimate).Add(policy.Power)
            .Add(queryLengths).Add(keyLengths).Add(policy.NewestPower).Add(policy.CausalChoice).One();

    /// <summary>Chooses blocks by scores of 0 or more, of <see cref="BlockScores"/> or of a learned gate; exact, ties by the lowest block.</summary>
    /// <param name="scores">[N, H, query blocks, key blocks].</param>
    /// <param name="queries">Queries that the blocks cover.</param>
    /// <param name="keys">Keys that the blocks cover.</param>
    /// <param name="policy">What to keep.</param>
    /// <param name="causal">Blocks behind the diagonal are not seen.</param>
    /// <param name="queryLengths">int32 [N]: a block of queries behind them gets an empty list; none: all exist.</param>
    /// <param name="keyLengths">int32 [N]: blocks behind them are not seen; the diagonal ends at the last query and key that exist.</param>
    public static BlockSelection Select(Tensor scores, long queries, long keys, SparsePolicy policy, bool causal, Tensor queryLengths = default, Tensor keyLengths = default)
    {
        var (index, count) = OperatorCall.To(s_select).Add(scores).Add(queries).Add(keys).Add((long)policy.QueryBlock).Add((long)policy.KeyBlock).Add(causal)
            .Add(policy.Density).Add(policy.Mass).Add((long)policy.SinkBlocks).Add((long)policy.WindowBlocks).Add((long)policy.MinimumBlocks).Add(policy.SharedBudget)
            .Add(queryLengths).Add(keyLengths).Two();
        return new(index, count);
    }

    /// <summary>Scores, chooses and attends in one call: q [N, H, T, D], k and v [N, Hkv, S, D] → [N, H, T, D]. Gradients flow through the attention, not through the choice.</summary>
    public static Tensor Of(Tensor q, Tensor k, Tensor v, SparsePolicy policy, bool causal, Tensor queryLengths = default, Tensor keyLengths = default) =>
        Of(q, k, v, policy, causal, out _, queryLengths, keyLengths);

    /// <summary>The same; also tells what was chosen. Sequences of different lengths lie padded in one batch: scores, choice and attention leave out what is behind the lengths, int32 [N].</summary>
    public static Tensor Of(Tensor q, Tensor k, Tensor v, SparsePolicy policy, bool causal, out BlockSelection selection, Tensor queryLengths = default, Tensor keyLengths = default)
    {
        selection = Select(BlockScores(q, k, policy, causal, queryLengths, keyLengths), q.Size(2), k.Size(2), policy, causal, queryLengths, keyLengths);
        return WithBlocks(q, k, v, selection, policy.QueryBlock, policy.KeyBlock, causal, queryLengths, keyLengths).Output;
    }

    /// <summary>Kept blocks over visible blocks; reads the counts, and the lengths where given, from the device.</summary>
    public static double Density(BlockSelection selection, long queries, long keys, SparsePolicy policy, bool causal, Tensor queryLengths = default, Tensor keyLengths = default)
    {
        var batch = selection.Count.Size(0);
        var (ends, keyEnds) = (Lengths(queryLengths, batch, queries), Lengths(keyLengths, batch, keys));
        var visible = 0L;
        for (var sequence = 0; sequence < batch; sequence++)
        {
            for (var row = 0L; row < ends[sequence]; row += policy.QueryBlock)
            {
                var last = Math.Min(row + policy.QueryBlock, ends[sequence]) - 1 + keyEnds[sequence] - ends[sequence];
                var lastSeen = causal ? Math.Min(last, keyEnds[sequence] - 1) : keyEnds[sequence] - 1;
                visible += Math.Max(lastSeen + policy.KeyBlock, 0) / policy.KeyBlock;
            }
        }
        return visible == 0 ? 0 : selection.Count.To(Dtype.Float64).Sum().Item() / (selection.Count.Size(1) * visible);
    }

    private static long[] Lengths(Tensor lengths, long batch, long rows)
    {
        if (lengths.IsNone)
        {
            return [.. Enumerable.Repeat(rows, (int)batch)];
        }
        return Array.ConvertAll(lengths.ToArray<int>(), length => Math.Clamp(length, 0, rows));
    }
}
