using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class BlockSelectionTests
{
    [Theory]
    [InlineData(true, false, 64, 64)]
    [InlineData(true, false, 40, 75)]
    [InlineData(false, false, 64, 48)]
    [InlineData(false, true, 64, 64)]
    public void Scores_OfRandomHeads_EqualTheDefinition(bool causal, bool pooled, int queries, int keys)
    {
        const int heads = 4, kvHeads = 2, dim = 6, block = 16, stride = 4;
        using var scope = TensorScope.Open();
        var (q, k) = (KernelData.Normal(1, heads * queries * dim), KernelData.Normal(2, kvHeads * keys * dim));
        var policy = new SparsePolicy { QueryBlock = block, KeyBlock = block, Stride = stride, Pooled = pooled };
        var scores = KernelData.Doubles(SparseAttention.BlockScores(Tensor.From<float>(q, 1, heads, queries, dim), Tensor.From<float>(k, 1, kvHeads, keys, dim), policy, causal));
        int rows = (queries + block - 1) / block, columns = (keys + block - 1) / block, groupsQ = queries / stride, groupsK = keys / stride;
        var expected = new double[heads * rows * columns];
        for (var head = 0; head < heads; head++)
        {
            for (var i = 0; i < groupsQ; i++)
            {
                var exponentials = new double[groupsK];
                for (var j = 0; j < groupsK; j++)
                {
                    var sum = 0.0;
                    for (var s = 0; s < stride; s++)
                    {
                        for (var t = pooled ? 0 : stride - 1 - s; t < (pooled ? stride : stride - s); t++)
                        {
                            for (var d = 0; d < dim; d++)
                            {
                                sum += (double)q[(head * queries + i * stride + t) * dim + d] * k[(head / 2 * keys + j * stride + s) * dim + d];
                            }
                        }
                    }
                    var seen = !causal || j * stride <= i * stride + stride - 1 + keys - queries;
                    exponentials[j] = seen ? Math.Exp(sum / (pooled ? stride * stride : stride) / Math.Sqrt(dim)) : 0;
                }
                var total = exponentials.Sum();
                for (var j = 0; j < groupsK && total > 0; j++)
                {
                    expected[(head * rows + i * stride / block) * columns + j * stride / block] += exponentials[j] / total / (block / stride);
                }
            }
        }
        // float32 throughout: products of 24 pairs, one exponential, sums of at most 20 terms.
        KernelData.Near(expected, scores, 2e-6, 1e-5, "");
    }

    [Theory]
    [InlineData(0.25, 1.0, 1, 1, 1, true)]
    [InlineData(1.0, 0.6, 0, 0, 3, true)]
    [InlineData(0.3, 0.5, 2, 0, 1, false)]
    [InlineData(1.0, 1.0, 0, 0, 1, true)]
    public void Selection_OfRandomScores_KeepsWhatThePolicySays(double density, double mass, int sink, int window, int least, bool causal)
    {
        const int heads = 3, queries = 200, keys = 230, block = 16;
        int rows = (queries + block - 1) / block, columns = (keys + block - 1) / block;
        using var scope = TensorScope.Open();
        // Few different values, so that ties are many.
        var random = new Random(4);
        var scores = Enumerable.Range(0, heads * rows * columns).Select(_ => random.Next(1, 6) / 8f).ToArray();
        var policy = new SparsePolicy { Density = density, Mass = mass, SinkBlocks = sink, WindowBlocks = window, MinimumBlocks = least, QueryBlock = block, KeyBlock = block };
        var (index, count) = SparseAttention.Select(Tensor.From<float>(scores, 1, heads, rows, columns), queries, keys, policy, causal);
        var (indices, counts, most) = (index.Reshape(-1).ToArray<int>(), count.Reshape(-1).ToArray<int>(), (int)index.Size(3));
        for (var list = 0; list < heads * rows; list++)
        {
            var row = list % rows;
            int first = (row * block + keys - queries) / block, last = (Math.Min((row + 1) * block, queries) - 1 + keys - queries) / block;
            var visible = causal ? last + 1 : columns;
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
        }
    }
}
