using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class BlockSelectionTests
{
    [Theory]
    [InlineData(true, BlockEstimate.Antidiagonal, 1, 64, 64, 64, 64)]
    [InlineData(true, BlockEstimate.Antidiagonal, 1, 40, 75, 40, 75)]
    [InlineData(false, BlockEstimate.Antidiagonal, 1, 64, 48, 64, 48)]
    [InlineData(false, BlockEstimate.Pooled, 1, 64, 64, 64, 64)]
    [InlineData(true, BlockEstimate.Antidiagonal, double.PositiveInfinity, 64, 75, 33, 51)]
    [InlineData(true, BlockEstimate.Pooled, double.PositiveInfinity, 64, 75, 30, 50)]
    [InlineData(false, BlockEstimate.Antidiagonal, 1, 40, 48, 17, 3)]
    [InlineData(true, BlockEstimate.Antidiagonal, 1, 40, 48, 40, 20)]
    [InlineData(true, BlockEstimate.Antidiagonal, 2, 40, 48, 0, 48)]
    [InlineData(true, BlockEstimate.Sampled, 1, 64, 64, 64, 64)]
    [InlineData(true, BlockEstimate.Sampled, 2, 40, 75, 33, 51)]
    [InlineData(false, BlockEstimate.Sampled, double.PositiveInfinity, 64, 48, 17, 3)]
    [InlineData(true, BlockEstimate.Sampled, 1, 40, 48, 40, 20)]
    [InlineData(true, BlockEstimate.Sampled, double.PositiveInfinity, 62, 75, 62, 75)]
    [InlineData(true, BlockEstimate.Sampled, 1, 1, 75, 1, 61)]
    [InlineData(false, BlockEstimate.Sampled, 2, 3, 30, 2, 30)]
    [InlineData(true, BlockEstimate.Sampled, 2, 49, 49, 0, 7)]
    [InlineData(true, BlockEstimate.Sampled, 1, 61, 75, 50, 3)]
    public void Scores_OfRandomHeads_EqualTheDefinition(bool causal, BlockEstimate estimate, double power, int queries, int keys, int queryLength, int keyLength)
    {
        const int heads = 4, kvHeads = 2, dim = 6, block = 16, stride = 4;
        int rows = (queries + block - 1) / block, columns = (keys + block - 1) / block;
        // Two sequences: one of the given lengths, with NaN behind them, and one without padding.
        int[] queryLengths = [queryLength, queries], keyLengths = [keyLength, keys];
        var (q, k) = (KernelData.Normal(1, 2 * heads * queries * dim), KernelData.Normal(2, 2 * kvHeads * keys * dim));
        var expected = new double[2 * heads * rows * columns];
        for (var head = 0; head < 2 * heads; head++)
        {
            var (length, seenKeys) = (queryLengths[head / heads], keyLengths[head / heads]);
            var (pooled, sampled) = (estimate == BlockEstimate.Pooled, estimate == BlockEstimate.Sampled);
            var keyStride = sampled ? 1 : stride;
            var (groupsQ, groupsK) = ((length + (sampled ? stride - 1 : 0)) / stride, seenKeys / keyStride);
            // Means are rows of their own: the diagonal ends at the last whole group.
            var shift = pooled ? (groupsK - groupsQ) * stride : seenKeys - length;
            for (var i = 0; i < groupsQ; i++)
            {
                // Of a short last group its last query is the sample.
                var last = Math.Min((i + 1) * stride, length) - 1;
                var exponentials = new double[groupsK];
                for (var j = 0; j < groupsK; j++)
                {
                    var sum = sampled ? Product(last, j) : 0.0;
                    for (var s = 0; s < stride && !sampled; s++)
                    {
                        for (var t = pooled ? 0 : stride - 1 - s; t < (pooled ? stride : stride - s); t++)
                        {
                            sum += Product(i * stride + t, j * stride + s);
                        }
                    }
                    var seen = !causal || j * keyStride <= (pooled ? i * stride + stride - 1 : last) + shift;
                    exponentials[j] = seen ? Math.Exp(sum / (pooled ? stride * stride : sampled ? 1 : stride) / Math.Sqrt(dim)) : 0;
                }
                var total = exponentials.Sum();
                var shares = new double[columns];
                for (var j = 0; j < groupsK && total > 0; j++)
                {
                    shares[j * keyStride / block] += exponentials[j] / total;
                }
                for (var b = 0; b < columns; b++)
                {
                    ref var share = ref expected[(head * rows + i * stride / block) * columns + b];
                    share = double.IsInfinity(power) ? Math.Max(share, shares[b]) : share + Math.Pow(shares[b], power) / (block / stride);
                }
            }
            for (var b = head * rows * columns; b < (head + 1) * rows * columns && power == 2; b++)
            {
                expected[b] = Math.Sqrt(expected[b]);
            }

            double Product(int query, int key) =>
                Enumerable.Range(0, dim).Sum(d => (double)q[(head * queries + query) * dim + d] * k[(head / 2 * keys + key) * dim + d]);
        }
        Poison(q, heads, queries, queryLengths, dim);
        Poison(k, kvHeads, keys, keyLengths, dim);
        var policy = new SparsePolicy { QueryBlock = block, KeyBlock = block, Stride = stride, Estimate = estimate, Power = power };
        using var scope = TensorScope.Open();
        foreach (var (dtype, absolute, relative) in new[] { (Dtype.Float32, 2e-6, 1e-5), (Dtype.Float64, 1e-12, 1e-12) })
        {
            // float32 throughout: products of 24 pairs, one exponential, sums of at most 20 terms.
            var scores = SparseAttention.BlockScores(Tensor.From<float>(q, 2, heads, queries, dim).To(dtype), Tensor.From<float>(k, 2, kvHeads, keys, dim).To(dtype), policy, causal,
                Tensor.From<int>(queryLengths, 2), Tensor.From<int>(keyLengths, 2));
            KernelData.Near(expected, KernelData.Doubles(scores), absolute, relative, $"{dtype} ");
        }
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(62, 0)]
    [InlineData(65, 0)]
    [InlineData(80, 61)]
    [InlineData(80, 49)]
    public void Samples_OfATextOfAnyLength_KnowWhatItsNewestQueryLooksFor(int queries, int length)
    {
        // Decoding byte by byte, the newest query is the one whose answer is used. Here only it looks for the third block of keys.
        const int dim = 4, block = 16, stride = 8, keys = 96;
        var rows = length > 0 ? length : queries;
        var (q, k) = (new float[queries * dim], new float[keys * dim]);
        q[(rows - 1) * dim] = 20;
        k[(2 * block + 5) * dim] = 20;
        using var scope = TensorScope.Open();
        var policy = new SparsePolicy { Density = 1e-9, SinkBlocks = 0, WindowBlocks = 0, MinimumBlocks = 2, QueryBlock = block, KeyBlock = block, Stride = stride, Estimate = BlockEstimate.Sampled };
        var lengths = length > 0 ? Tensor.From<int>([length], 1) : default;
        var (x, y) = (Tensor.From<float>(q, 1, 1, queries, dim), Tensor.From<float>(k, 1, 1, keys, dim));
        var chosen = SparseAttention.Select(SparseAttention.BlockScores(x, y, policy, false, lengths), queries, keys, policy, false, lengths);
        var last = (rows - 1) / block;
        var most = (int)chosen.Index.Size(3);
        Assert.Contains(2, chosen.Index.Reshape(-1).ToArray<int>()[(last * most)..((last + 1) * most)]);
    }

    [Theory]
    [InlineData(BlockEstimate.Sampled, 2, 100, 0, 130, 0)]
    [InlineData(BlockEstimate.Antidiagonal, double.PositiveInfinity, 100, 0, 130, 77)]
    [InlineData(BlockEstimate.Pooled, 1, 100, 70, 130, 64)]
    [InlineData(BlockEstimate.Sampled, 2, 100, 80, 130, 0)]
    [InlineData(BlockEstimate.Sampled, 1, 13, 0, 130, 90)]
    [InlineData(BlockEstimate.Sampled, 1, 13, 5, 130, 90)]
    public void Scores_OfTheNewestBlock_AreThoseOfEachOfItsQueries(BlockEstimate estimate, double newestPower, int queries, int length, int keys, int keyLength)
    {
        const int heads = 2, dim = 6, block = 16;
        using var scope = TensorScope.Open();
        var (q, k) = (Tensor.From<float>(KernelData.Normal(5, 2 * heads * queries * dim), 2, heads, queries, dim), Tensor.From<float>(KernelData.Normal(6, 2 * keys * dim), 2, 1, keys, dim));
        // The second sequence has rows of every kind; of the first, none at all exists where lengths are given.
        var (ends, keyEnds) = (length > 0 ? Tensor.From<int>([0, length], 2) : default, keyLength > 0 ? Tensor.From<int>([keys, keyLength], 2) : default);
        var policy = new SparsePolicy { QueryBlock = block, KeyBlock = block, Stride = 4, Estimate = estimate, NewestPower = newestPower };
        var estimated = SparseAttention.BlockScores(q, k, policy with { NewestPower = 0 }, true, ends, keyEnds);
        var each = SparseAttention.BlockScores(q, k, policy with { Estimate = BlockEstimate.Sampled, Stride = 1, Power = newestPower, NewestPower = 0 }, true, ends, keyEnds);
        var actual = KernelData.Doubles(SparseAttention.BlockScores(q, k, policy, true, ends, keyEnds));
        var (rows, columns) = ((queries + block - 1) / block, (keys + block - 1) / block);
        var (others, newest) = (KernelData.Doubles(estimated), KernelData.Doubles(each));
        var expected = others.Select((other, i) =>
        {
            var (sequence, row) = (i / (heads * rows * columns), i / columns % rows);
            var last = length == 0 ? queries - 1 : sequence == 0 ? 0 : length - 1;
            return row == last / block ? newest[i] : other;
        }).ToArray();
        KernelData.Near(expected, actual, 1e-6, 1e-5, "");
    }

    [Theory]
    [InlineData(1, 80, 80, 0, 0)]
    [InlineData(2, 75, 101, 0, 0)]
    [InlineData(double.PositiveInfinity, 90, 90, 71, 85)]
    public void Scores_OfACausalChoice_ComeFromABlocksFirstQueryAndThoseBefore(double power, int queries, int keys, int length, int keyLength)
    {
        const int dim = 6, block = 16, stride = 4;
        using var scope = TensorScope.Open();
        var (q, k) = (Tensor.From<float>(KernelData.Normal(7, queries * dim), 1, 1, queries, dim), Tensor.From<float>(KernelData.Normal(8, keys * dim), 1, 1, keys, dim));
        var (ends, keyEnds) = length > 0 ? (Tensor.From<int>([length], 1), Tensor.From<int>([keyLength], 1)) : (default, default);
        var policy = new SparsePolicy { QueryBlock = block, KeyBlock = block, Stride = stride, Estimate = BlockEstimate.Sampled, Power = power, CausalChoice = true };
        var actual = KernelData.Doubles(SparseAttention.BlockScores(q, k, policy, true, ends, keyEnds));
        // The shares of every query by itself.
        var shares = KernelData.Doubles(SparseAttention.BlockScores(q, k, policy with { QueryBlock = 1, Stride = 1, CausalChoice = false }, true, ends, keyEnds));
        var (rows, columns) = ((queries + block - 1) / block, (keys + block - 1) / block);
        for (var row = 1; row * block < (length > 0 ? length : queries); row++) // the first block has copies of one query, which see less
        {
            for (var column = 0; column < columns; column++)
            {
                var known = Enumerable.Range(0, block / stride).Select(i => shares[(row * block - i * stride) * columns + column]).ToArray();
                var expected = double.IsInfinity(power) ? known.Max() : Math.Pow(known.Average(x => Math.Pow(x, power)), 1 / power);
                Assert.Equal(expected, actual[row * columns + column], 1e-5);
            }
        }
    }

    [Theory]
    [InlineData(BlockEstimate.Sampled)]
    [InlineData(BlockEstimate.Antidiagonal)]
    public void Scores_OfACausalChoice_LeaveOutASequenceWithoutQueries(BlockEstimate estimate)
    {
        const int dim = 6, block = 16, rows = 40;
        using var scope = TensorScope.Open();
        var (q, k) = (KernelData.Normal(7, 2 * rows * dim), KernelData.Normal(8, 2 * rows * dim));
        int[] lengths = [rows, 0]; // the second has keys, but no first query to copy, and NaN where it would stand
        Poison(q, 1, rows, lengths, dim);
        var policy = new SparsePolicy { QueryBlock = block, KeyBlock = block, Stride = 4, Estimate = estimate, CausalChoice = true };

        var scores = KernelData.Doubles(SparseAttention.BlockScores(Tensor.From<float>(q, 2, 1, rows, dim), Tensor.From<float>(k, 2, 1, rows, dim), policy, true, Tensor.From<int>(lengths, 2), Tensor.From<int>([rows, 24], 2)));

        var half = scores.Length / 2;
        Assert.All(scores[..half], score => Assert.InRange(score, 0, 1.001)); // shares
        Assert.True(scores[..half].Sum() > 1);
        Assert.All(scores[half..], score => Assert.Equal(0, score));
    }

    // The kernel against the definition in float64, on what the inputs are after rounding to their type: float32 from there on.
    [Theory]
    [InlineData(BlockEstimate.Antidiagonal, 2, 150, 203, 20, 32, 8)]
    [InlineData(BlockEstimate.Sampled, 2, 150, 203, 64, 64, 8)]
    [InlineData(BlockEstimate.Sampled, 1, 1, 203, 33, 64, 8)]
    [InlineData(BlockEstimate.Sampled, double.PositiveInfinity, 130, 130, 128, 128, 1)]
    [InlineData(BlockEstimate.Antidiagonal, 1, 333, 90, 17, 16, 16)]
    [InlineData(BlockEstimate.Sampled, 2, 13, 203, 20, 64, 8)]
    [InlineData(BlockEstimate.Antidiagonal, 1, 5, 203, 20, 64, 8)]
    public void Scores_OnEachInstructionSet_EqualFloat64(BlockEstimate estimate, double power, int queries, int keys, int dim, int block, int stride)
    {
        const int heads = 6, kvHeads = 2;
        using var scope = TensorScope.Open();
        var policy = new SparsePolicy { QueryBlock = block, KeyBlock = block, Stride = stride, Estimate = estimate, Power = power };
        foreach (var dtype in new[] { Dtype.Float32, Dtype.BFloat16, Dtype.Float16 })
        {
            var q = Tensor.From<float>(KernelData.Normal(3, heads * queries * dim), 1, heads, queries, dim).To(dtype);
            // Rows that do not lie side by side.
            var k = Tensor.From<float>(KernelData.Normal(4, keys * kvHeads * dim), 1, keys, kvHeads, dim).To(dtype).Transpose(1, 2);
            var expected = KernelData.Doubles(SparseAttention.BlockScores(q.To(Dtype.Float64), k.To(Dtype.Float64), policy, causal: true));
            KernelData.OnEachInstructionSet(set => KernelData.Near(expected, KernelData.Doubles(SparseAttention.BlockScores(q, k, policy, causal: true)), 2e-6, 2e-5, $"{set} {dtype} "));
        }
    }

    private static void Poison(float[] x, int heads, int rows, int[] lengths, int dim)
    {
        for (var i = 0; i < x.Length; i++)
        {
            x[i] = i / dim % rows >= lengths[i / (heads * rows * dim)] ? float.NaN : x[i];
        }
    }

    [Theory]
    [InlineData(0.25, 1.0, 1, 1, 1, true, 200, 230)]
    [InlineData(1.0, 0.6, 0, 0, 3, true, 200, 230)]
    [InlineData(0.3, 0.5, 2, 0, 1, false, 200, 230)]
    [InlineData(1.0, 1.0, 0, 0, 1, true, 200, 230)]
    [InlineData(0.25, 1.0, 1, 1, 1, true, 70, 131)]
    [InlineData(0.5, 0.7, 2, 1, 2, false, 33, 17)]
    [InlineData(1.0, 0.8, 0, 1, 1, true, 200, 50)]
    [InlineData(0.5, 1.0, 1, 1, 1, true, 0, 50)]
    [InlineData(0.5, 1.0, 1, 1, 1, false, 50, 0)]
    public void Selection_OfRandomScores_KeepsWhatThePolicySays(double density, double mass, int sink, int window, int least, bool causal, int queryLength, int keyLength)
    {
        const int heads = 3, queries = 200, keys = 230, block = 16;
        int rows = (queries + block - 1) / block, columns = (keys + block - 1) / block;
        int[] queryLengths = [queries, queryLength], keyLengths = [keys, keyLength];
        using var scope = TensorScope.Open();
        // Few different values, so that ties are many.
        var random = new Random(4);
        var scores = Enumerable.Range(0, 2 * heads * rows * columns).Select(_ => random.Next(1, 6) / 8f).ToArray();
        var policy = new SparsePolicy { Density = density, Mass = mass, SinkBlocks = sink, WindowBlocks = window, MinimumBlocks = least, QueryBlock = block, KeyBlock = block };
        var selection = SparseAttention.Select(Tensor.From<float>(scores, 2, heads, rows, columns), queries, keys, policy, causal, Tensor.From<int>(queryLengths, 2), Tensor.From<int>(keyLengths, 2));
        var (indices, counts, most) = (selection.Index.Reshape(-1).ToArray<int>(), selection.Count.Reshape(-1).ToArray<int>(), (int)selection.Index.Size(3));
        var (keptBlocks, visibleBlocks) = (0.0, 0.0);
        for (var list = 0; list < 2 * heads * rows; list++)
        {
            var (row, length, seenKeys) = (list % rows, queryLengths[list / (heads * rows)], keyLengths[list / (heads * rows)]);
            int Block(int key) => key < 0 ? -1 : key / block;
            var lastKey = Math.Min(Math.Min((row + 1) * block, length) - 1 + seenKeys - length, seenKeys - 1);
            int first = Math.Max(Block(Math.Min(row * block + seenKeys - length, seenKeys - 1)), 0), last = Block(lastKey);
            var visible = row * block >= length ? 0 : causal ? last + 1 : (seenKeys + block - 1) / block;
            bool Forced(int b) => b < sink || (b >= first - window && b <= last + window);
            var order = Enumerable.Range(0, visible).OrderByDescending(Forced).ThenByDescending(b => Forced(b) ? 0 : scores[list * columns + b]).ToArray();
            var kept = (int)Math.Ceiling(visible * density - 1e-9);
            if (mass < 1)
            {
                var total = order.Sum(b => (double)scores[list * columns + b]);
                var running = 0.0;
                kept = Math.Min(kept, order.Count(b => (running += scores[list * columns + b]) < total * mass) + 1);
            }
            kept = Math.Min(Math.Max(Math.Max(kept, least), order.Count(Forced)), visible);
            Assert.Equal(kept, counts[list]);
            Assert.Equal(order.Take(kept).Order(), indices[(list * most)..(list * most + kept)]);
            Assert.All(indices[(list * most + kept)..((list + 1) * most)], x => Assert.Equal(-1, x));
            (keptBlocks, visibleBlocks) = (keptBlocks + kept, visibleBlocks + visible);
        }
        Assert.Equal(keptBlocks / visibleBlocks, SparseAttention.Density(selection, queries, keys, policy, causal, Tensor.From<int>(queryLengths, 2), Tensor.From<int>(keyLengths, 2)), 12);
    }

    [Theory]
    [InlineData(0.3, 1, 1, 200, 230)]
    [InlineData(0.5, 0, 0, 200, 230)]
    [InlineData(0.1, 2, 1, 70, 131)]
    [InlineData(0.5, 1, 0, 0, 50)]
    public void Selection_OfASharedBudget_KeepsTheBestBlocksOfAllHeads(double density, int sink, int window, int queryLength, int keyLength)
    {
        const int heads = 3, queries = 200, keys = 230, block = 16, rows = 13, columns = 15;
        int[] queryLengths = [queries, queryLength], keyLengths = [keys, keyLength];
        using var scope = TensorScope.Open();
        var random = new Random(5);
        var scores = Enumerable.Range(0, 2 * heads * rows * columns).Select(_ => (float)random.NextDouble()).ToArray();
        var policy = new SparsePolicy { Density = density, SharedBudget = true, SinkBlocks = sink, WindowBlocks = window, QueryBlock = block, KeyBlock = block };
        var (x, ends, keyEnds) = (Tensor.From<float>(scores, 2, heads, rows, columns), Tensor.From<int>(queryLengths, 2), Tensor.From<int>(keyLengths, 2));
        var chosen = SparseAttention.Select(x, queries, keys, policy, true, ends, keyEnds);
        // What every list keeps and what may be kept, as the tests above check it.
        var forced = Lists(SparseAttention.Select(x, queries, keys, policy with { SharedBudget = false, Density = 1e-9 }, true, ends, keyEnds));
        var visible = Lists(SparseAttention.Select(x, queries, keys, policy with { SharedBudget = false, Density = 1 }, true, ends, keyEnds));
        var actual = Lists(chosen);
        for (var row = 0; row < 2 * rows; row++)
        {
            var mine = Enumerable.Range(0, heads).Select(head => (row / rows * heads + head) * rows + row % rows).ToArray();
            var budget = (int)Math.Ceiling(mine.Sum(l => visible[l].Count) * density - 1e-9);
            var best = mine.SelectMany(l => visible[l].Except(forced[l]).Select(b => (List: l, Block: b))).OrderByDescending(b => scores[b.List * columns + b.Block])
                .Take(Math.Max(budget - mine.Sum(l => forced[l].Count), 0)).ToHashSet();
            Assert.All(mine, l => Assert.Equal(visible[l].Where(b => forced[l].Contains(b) || best.Contains((l, b))), actual[l]));
        }

        static List<int>[] Lists(BlockSelection selection)
        {
            var (index, most) = (selection.Index.Reshape(-1).ToArray<int>(), (int)selection.Index.Size(3));
            return [.. selection.Count.Reshape(-1).ToArray<int>().Select((count, list) => index[(list * most)..(list * most + count)].ToList())];
        }
    }

    [Fact]
    public void Selection_OfASharedBudgetAndAMass_IsRefused()
    {
        using var scope = TensorScope.Open();
        var policy = new SparsePolicy { SharedBudget = true, Mass = 0.9, QueryBlock = 16, KeyBlock = 16 };
        var error = Assert.ThrowsAny<Exception>(() => SparseAttention.Select(Tensor.From<float>(new float[4], 1, 1, 2, 2), 32, 32, policy, true));
        Assert.Contains("shared budget leaves no choice by mass", error.Message);
    }
}
