using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class GatherAttentionTests
{
    [Theory]
    [InlineData(4, 4, 9, 33, 64, 8)] // heads of their own keys, one row at a time
    [InlineData(4, 2, 5, 70, 128, 40)] // two
    [InlineData(3, 1, 7, 50, 24, 17)] // three and a made-up one, dim of no whole vector
    [InlineData(8, 2, 6, 100, 64, 64)] // four
    [InlineData(10, 2, 3, 40, 20, 40)] // four and one
    [InlineData(7, 1, 1, 129, 40, 129)] // decode: one query
    [InlineData(1, 1, 1, 1, 1, 1)]
    public void Forward_OnEachInstructionSet_EqualsFloat64Loops(int heads, int kvHeads, int queries, int keys, int dim, int most)
    {
        var (lists, index, count) = Lists(2, queries, keys, most);
        var (q, k, v) = (KernelData.Normal(1, 2L * heads * queries * dim), KernelData.Normal(2, 2L * kvHeads * keys * dim), KernelData.Normal(3, 2L * kvHeads * keys * dim));
        Poison(lists, k, v, kvHeads, queries, keys, dim);
        foreach (var dtype in new[] { Dtype.Float32, Dtype.BFloat16, Dtype.Float16, Dtype.Float64 })
        {
            var (output, logs) = Reference(heads, kvHeads, queries, keys, dim, lists, KernelData.Rounded(q, dtype), KernelData.Rounded(k, dtype), KernelData.Rounded(v, dtype));
            KernelData.OnEachInstructionSet(set =>
            {
                using var scope = TensorScope.Open();
                var (o, l) = GatherAttention.Of(Make(q, heads, queries, dim, dtype), Make(k, kvHeads, keys, dim, dtype), Make(v, kvHeads, keys, dim, dtype),
                    new(Tensor.From<int>(index, 2, queries, most), Tensor.From<int>(count, 2, queries)));
                // float32: sums of up to 128 products and weights; halves: arithmetic in float32, the output of up to 3 rounded once.
                var error = dtype switch { Dtype.BFloat16 => 1.2e-2, Dtype.Float16 => 1.5e-3, Dtype.Float32 => 5e-6, _ => 1e-12 };
                KernelData.Near(output, KernelData.Doubles(o), error, error, $"{set} {dtype} output ");
                var found = KernelData.Doubles(l);
                for (var i = 0; i < logs.Length; i++)
                {
                    Assert.True(found[i].Equals(logs[i]) || Math.Abs(found[i] - logs[i]) <= 2e-5, $"{set} {dtype} log sum {i}: {found[i]}, expected {logs[i]}");
                }
            });
        }
    }

    [Theory]
    [InlineData(4, 2, 5, 9, 6, 4)]
    [InlineData(3, 1, 4, 7, 17, 7)]
    [InlineData(2, 2, 3, 8, 5, 3)]
    public void Backward_OnEachInstructionSet_EqualsCentralDifferences(int heads, int kvHeads, int queries, int keys, int dim, int most)
    {
        var (lists, index, count) = Lists(1, queries, keys, most);
        long[][] shapes = [[1, heads, queries, dim], [1, kvHeads, keys, dim], [1, kvHeads, keys, dim]];
        double[][] inputs = [.. shapes.Select((s, i) => Array.ConvertAll(KernelData.Normal(i + 1, s.Aggregate((a, b) => a * b)), x => (double)x))];
        var weight = Array.ConvertAll(KernelData.Normal(8, (long)heads * queries * dim), x => (double)x);
        double Loss() => Reference(heads, kvHeads, queries, keys, dim, lists, inputs[0], inputs[1], inputs[2]).Output.Zip(weight, (a, b) => a * b).Sum();
        double[][] expected = [.. inputs.Select(x => KernelData.Differences(x, Loss))];
        foreach (var dtype in new[] { Dtype.Float64, Dtype.Float32 })
        {
            KernelData.OnEachInstructionSet(set =>
            {
                using var scope = TensorScope.Open();
                TensorHandle[] leaves = [.. inputs.Select((x, i) => Tensor.From<double>(x, shapes[i]).To(dtype).Keep().WithGrad())];
                var (output, _) = GatherAttention.Of(leaves[0].Tensor, leaves[1].Tensor, leaves[2].Tensor, new(Tensor.From<int>(index, 1, queries, most), Tensor.From<int>(count, 1, queries)));
                (output * Tensor.From<double>(weight, shapes[0]).To(dtype)).Sum().Backward();
                for (var i = 0; i < 3; i++)
                {
                    // Steps of 1e-5: the differences are good to about 1e-9; the rest is the type's arithmetic.
                    var error = dtype == Dtype.Float64 ? 2e-8 : 2e-5;
                    KernelData.Near(expected[i], KernelData.Doubles(leaves[i].Tensor.Grad()), error, error, $"{set} {dtype} gradient {i} ");
                    leaves[i].Dispose();
                }
            });
        }
    }

    [Theory]
    [InlineData(Dtype.Float32)]
    [InlineData(Dtype.BFloat16)]
    public void WithAllKeys_EqualsDenseAttentionInOutputAndGradients(Dtype dtype)
    {
        const int heads = 6, kvHeads = 2, length = 70, dim = 32;
        using var scope = TensorScope.Open();
        var index = new int[2 * length * length];
        for (var i = 0; i < index.Length; i++)
        {
            index[i] = i % length;
        }
        // The first t + 1 keys of query t: causal attention.
        var everything = new TokenSelection(Tensor.From<int>(index, 2, length, length), Tensor.From<int>([.. Enumerable.Range(0, 2 * length).Select(i => i % length + 1)], 2, length));
        var wanted = Run(Dtype.Float64, (q, k, v) => Functional.Attention(q, k, v, causal: true));
        var found = Run(dtype, (q, k, v) => GatherAttention.Of(q, k, v, everything).Output);
        // Outputs up to 3 and gradients up to 30 in size: float32 sums of 70 terms; bfloat16 results and the saved output are rounded to 8 bits.
        var error = dtype == Dtype.Float32 ? 1e-5 : 1.6e-2;
        for (var i = 0; i < 4; i++)
        {
            KernelData.Near(wanted[i], found[i], error * Math.Max(1, wanted[i].Max(Math.Abs)), error, $"{dtype} {(i == 0 ? "output" : "gradient")} {i} ");
        }

        double[][] Run(Dtype computed, Func<Tensor, Tensor, Tensor, Tensor> attend)
        {
            TensorHandle[] leaves = [.. new[] { heads, kvHeads, kvHeads }.Select((h, i) => Tensor.From<float>(KernelData.Normal(i + 1, 2L * h * length * dim), 2, h, length, dim).To(dtype).To(computed).Keep().WithGrad())];
            var output = attend(leaves[0].Tensor, leaves[1].Tensor, leaves[2].Tensor);
            (output.To(Dtype.Float64) * Tensor.From<float>(KernelData.Normal(9, output.Elements), 2, heads, length, dim).To(dtype).To(Dtype.Float64)).Sum().Backward();
            double[][] results = [KernelData.Doubles(output), .. leaves.Select(t => KernelData.Doubles(t.Tensor.Grad()))];
            Array.ForEach(leaves, t => t.Dispose());
            return results;
        }
    }

    [Fact]
    public void OfAStridedCache_EqualsTheSameRowsAlone_BitForBit()
    {
        using var scope = TensorScope.Open();
        // Keys as they lie in a cache with room for more, NaN behind them; queries as a projection leaves them.
        var (k, v) = (KernelData.Normal(2, 2 * 2 * 50 * 16), KernelData.Normal(3, 2 * 2 * 50 * 16));
        for (var i = 0; i < k.Length; i++)
        {
            (k[i], v[i]) = i / 16 % 50 >= 37 ? (float.NaN, float.NaN) : (k[i], v[i]);
        }
        var (keys, values) = (Tensor.From<float>(k, 2, 2, 50, 16).Narrow(2, 0, 37), Tensor.From<float>(v, 2, 2, 50, 16).Narrow(2, 0, 37));
        var q = Tensor.From<float>(KernelData.Normal(1, 2 * 6 * 4 * 16), 2, 6, 4, 16).Transpose(1, 2);
        var (_, index, count) = Lists(2, 6, 37, 20);
        TokenSelection Selection(int first, int rows) => new(Tensor.From<int>(index, 2, 6, 20).Narrow(1, first, rows), Tensor.From<int>(count, 2, 6).Narrow(1, first, rows));
        var all = GatherAttention.Of(q, keys, values, Selection(0, 6)).Output.ToArray<float>();
        Assert.All(all, x => Assert.True(float.IsFinite(x)));
        Assert.Equal(GatherAttention.Of(q * 1, keys * 1, values * 1, Selection(0, 6)).Output.ToArray<float>(), all);
        // One query after the other, as in decode.
        Tensor[] each = [.. Enumerable.Range(0, 6).Select(t => GatherAttention.Of(q.Narrow(2, t, 1), keys, values, Selection(t, 1)).Output)];
        Assert.Equal(all, Tensor.Cat(each, 2).ToArray<float>());
    }

    [Theory]
    [InlineData(new[] { 3, 1, 5 }, 3, "after key 3")]
    [InlineData(new[] { 1, 1, 5 }, 3, "names key 1 after key 1")]
    [InlineData(new[] { 1, 5, 9 }, 3, "names key 9; there are 9 keys")]
    [InlineData(new[] { -1, 5, 6 }, 3, "names key -1")]
    [InlineData(new[] { 1, 5, 6 }, 4, "count of 4")]
    public void WithAFaultyList_IsRefusedByName(int[] list, int count, string message)
    {
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>(KernelData.Normal(1, 2 * 9 * 8), 1, 2, 9, 8);
        var error = Assert.ThrowsAny<Exception>(() => GatherAttention.Of(x.Narrow(2, 0, 1), x, x, new(Tensor.From<int>(list, 1, 1, 3), Tensor.From<int>([count], 1, 1))));
        Assert.Contains(message, error.Message);
    }

    [Fact]
    public void OfNothing_IsEmptyOrZero()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>(KernelData.Normal(1, 2 * 3 * 8), 1, 2, 3, 8);
        var none = Tensor.Empty(Dtype.Float32, 1, 2, 0, 8);
        var empty = new TokenSelection(Tensor.Empty(Dtype.Int32, 1, 3, 0), Tensor.From<int>([0, 0, 0], 1, 3));
        Assert.All(GatherAttention.Of(x, none, none, empty).Output.ToArray<float>(), value => Assert.Equal(0, value));
        Assert.Equal([1, 2, 0, 8], GatherAttention.Of(none, x, x, new(Tensor.Empty(Dtype.Int32, 1, 0, 2), Tensor.Empty(Dtype.Int32, 1, 0))).Output.Shape());
    }

    [Fact]
    public void TwentyTimes_GivesTheSameBits()
    {
        var (_, index, count) = Lists(2, 60, 90, 24);
        float[] Run()
        {
            using var scope = TensorScope.Open();
            TensorHandle[] leaves = [.. new[] { (6, 60), (2, 90), (2, 90) }.Select((s, i) => TensorHandle.From<float>(KernelData.Normal(i, 2L * s.Item1 * s.Item2 * 24), 2, s.Item1, s.Item2, 24).WithGrad())];
            var output = GatherAttention.Of(leaves[0].Tensor, leaves[1].Tensor, leaves[2].Tensor, new(Tensor.From<int>(index, 2, 60, 24), Tensor.From<int>(count, 2, 60))).Output;
            (output * output).Sum().Backward();
            float[] result = [.. output.ToArray<float>(), .. leaves.SelectMany(t => t.Tensor.Grad().ToArray<float>())];
            Array.ForEach(leaves, t => t.Dispose());
            return result;
        }
        var first = Run();
        Assert.All(Enumerable.Range(0, 19), _ => Assert.Equal(first, Run()));
    }

    /// <summary>Ascending random lists of all lengths, an empty and a full one among them; entries behind the counts name keys far outside.</summary>
    internal static (int[][] Lists, int[] Index, int[] Count) Lists(int batch, int queries, int keys, int most)
    {
        var random = new Random(keys * 7 + queries);
        var lists = Enumerable.Range(0, batch * queries).Select(i => Enumerable.Range(0, keys).OrderBy(_ => random.Next())
            .Take(i == 0 ? Math.Min(keys, most) : i == 2 ? 0 : random.Next(1, Math.Min(keys, most) + 1)).Order().ToArray()).ToArray();
        return (lists, [.. lists.SelectMany(l => l.Concat(Enumerable.Repeat(1 << 28, most - l.Length)))], [.. lists.Select(l => l.Length)]);
    }

    // Keys that no list names.
    private static void Poison(int[][] lists, float[] k, float[] v, int kvHeads, int queries, int keys, int dim)
    {
        for (var i = 0; i < k.Length; i++)
        {
            var (sequence, key) = (i / dim / keys / kvHeads, i / dim % keys);
            if (!lists.AsSpan(sequence * queries, queries).ToArray().Any(l => l.Contains(key)))
            {
                (k[i], v[i]) = (float.NaN, float.NaN);
            }
        }
    }

    private static Tensor Make(float[] x, int heads, int rows, int dim, Dtype dtype) => Tensor.From<float>(x, 2, heads, rows, dim).To(dtype);

    private static (double[] Output, double[] LogSum) Reference(int heads, int kvHeads, int queries, int keys, int dim, int[][] lists, double[] q, double[] k, double[] v)
    {
        var (output, logs) = (new double[q.Length], new double[q.Length / dim]);
        for (var row = 0; row < logs.Length; row++)
        {
            var (sequence, head, query) = (row / queries / heads, row / queries % heads, row % queries);
            var kv = (sequence * kvHeads + head / (heads / kvHeads)) * keys;
            var list = lists[sequence * queries + query];
            double[] scores = [.. list.Select(j => Enumerable.Range(0, dim).Sum(d => q[row * dim + d] * k[(kv + j) * dim + d]) / Math.Sqrt(dim))];
            var greatest = scores.Length > 0 ? scores.Max() : 0;
            var sum = scores.Sum(s => Math.Exp(s - greatest));
            logs[row] = greatest + Math.Log(sum);
            for (var j = 0; j < list.Length; j++)
            {
                for (var d = 0; d < dim; d++)
                {
                    output[row * dim + d] += Math.Exp(scores[j] - greatest) / sum * v[(kv + list[j]) * dim + d];
                }
            }
        }
        return (output, logs);
    }
}
