using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class SparseAttentionTests
{
    [Theory]
    [InlineData(4, 2, 37, 53, 16, 8, 16, true, 37, 53)]
    [InlineData(2, 2, 64, 64, 64, 16, 16, false, 64, 64)]
    [InlineData(3, 1, 50, 20, 24, 16, 8, true, 50, 20)]
    [InlineData(4, 2, 40, 48, 16, 8, 16, true, 21, 35)]
    [InlineData(2, 1, 1, 33, 8, 16, 16, true, 1, 33)]
    [InlineData(2, 1, 19, 1, 8, 4, 16, false, 19, 1)]
    [InlineData(2, 1, 24, 24, 8, 8, 8, true, 24, 0)]
    public void Forward_WithGivenLists_EqualsFloat64(int heads, int kvHeads, int queries, int keys, int dim, int queryBlock, int keyBlock, bool causal, int queryLength, int keyLength)
    {
        using var scope = TensorScope.Open();
        var reference = Case(heads, kvHeads, queries, keys, dim, queryBlock, keyBlock, causal, queryLength, keyLength);
        var (q, k, v) = Inputs(reference);
        var (output, logs) = reference.Forward(Widen(q), Widen(k), Widen(v));
        foreach (var (rows, length, x) in new[] { (queries, queryLength, q), (keys, keyLength, k), (keys, keyLength, v) })
        {
            Poison(x, rows, length, dim);
        }
        var (lengthsQ, lengthsK) = (Tensor.From<int>([queryLength], 1), Tensor.From<int>([keyLength], 1));
        foreach (var dtype in new[] { Dtype.Float32, Dtype.Float64 })
        {
            var (o, l) = SparseAttention.WithBlocks(Tensor.From<float>(q, 1, heads, queries, dim).To(dtype), Tensor.From<float>(k, 1, kvHeads, keys, dim).To(dtype),
                Tensor.From<float>(v, 1, kvHeads, keys, dim).To(dtype), Lists(reference), queryBlock, keyBlock, causal, lengthsQ, lengthsK);
            // float32: sums of up to 64 products of normal values, then one rounding; exponentials are good to a few 2^-23.
            var error = dtype == Dtype.Float32 ? 4e-6 : 1e-12;
            KernelData.Near(output, KernelData.Doubles(o), error, error, $"{dtype} output ");
            var found = KernelData.Doubles(l);
            for (var i = 0; i < logs.Length; i++)
            {
                Assert.True(found[i].Equals(logs[i]) || Math.Abs(found[i] - logs[i]) <= error * 4, $"{dtype} log sum {i}: {found[i]}, expected {logs[i]}");
            }
        }
    }

    [Fact]
    public void Forward_OfStridedHalfPrecision_EqualsFloat64()
    {
        using var scope = TensorScope.Open();
        var reference = Case(4, 2, 70, 70, 32, 16, 32, true, 70, 70);
        var (q, k, v) = Inputs(reference);
        foreach (var (dtype, error) in new[] { (Dtype.BFloat16, 1.6e-2), (Dtype.Float16, 2e-3) })
        {
            // Heads beside each other, as a projection leaves them.
            var (tq, tk, tv) = (Beside(q, 4, 70, 32, dtype), Beside(k, 2, 70, 32, dtype), Beside(v, 2, 70, 32, dtype));
            var (output, _) = reference.Forward(KernelData.Doubles(tq), KernelData.Doubles(tk), KernelData.Doubles(tv));
            // Outputs of up to 3 in size are rounded to 8 (11) bits, and so may the weights be.
            KernelData.Near(output, KernelData.Doubles(SparseAttention.WithBlocks(tq, tk, tv, Lists(reference), 16, 32, true).Output), error, error, $"{dtype} ");
        }
    }

    private static Tensor Beside(float[] x, int heads, int rows, int dim, Dtype dtype) => Tensor.From<float>(x, rows, heads, dim).To(dtype).Transpose(0, 1).Unsqueeze(0);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Backward_InFloat64_EqualsCentralDifferences(bool causal)
    {
        var reference = Case(4, 2, 11, 14, 5, 4, 3, causal, 10, 13);
        var (fq, fk, fv) = Inputs(reference);
        double[][] inputs = [Widen(fq), Widen(fk), Widen(fv)];
        var weight = Widen(KernelData.Normal(8, fq.Length));
        double Loss() => reference.Forward(inputs[0], inputs[1], inputs[2]).Output.Zip(weight, (a, b) => a * b).Sum();
        long[][] shapes = [[1, 4, 11, 5], [1, 2, 14, 5], [1, 2, 14, 5]];
        foreach (var (dtype, error) in new[] { (Dtype.Float64, 2e-8), (Dtype.Float32, 1e-5) })
        {
            using var scope = TensorScope.Open();
            var leaves = new TensorHandle[3];
            for (var i = 0; i < 3; i++)
            {
                leaves[i] = Tensor.From<double>(inputs[i], shapes[i]).To(dtype).Keep().WithGrad();
            }
            var (output, _) = SparseAttention.WithBlocks(leaves[0].Tensor, leaves[1].Tensor, leaves[2].Tensor, Lists(reference), 4, 3, causal, Tensor.From<int>([10], 1), Tensor.From<int>([13], 1));
            (output * Tensor.From<double>(weight, shapes[0]).To(dtype)).Sum().Backward();
            for (var i = 0; i < 3; i++)
            {
                // Steps of 1e-5: the differences themselves are good to about 1e-9; the rest is the type's arithmetic.
                KernelData.Near(KernelData.Differences(inputs[i], Loss), KernelData.Doubles(leaves[i].Tensor.Grad()), error, error, $"{dtype} gradient {i} ");
                leaves[i].Dispose();
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Of_AtDensityOne_EqualsDenseAttention(bool causal)
    {
        using var scope = TensorScope.Open();
        var q = Tensor.From<float>(KernelData.Normal(1, 2 * 3 * 75 * 16), 2, 3, 75, 16);
        var k = Tensor.From<float>(KernelData.Normal(2, 2 * 3 * 75 * 16), 2, 3, 75, 16);
        var v = Tensor.From<float>(KernelData.Normal(3, 2 * 3 * 75 * 16), 2, 3, 75, 16);
        var policy = new SparsePolicy { Density = 1, QueryBlock = 16, KeyBlock = 16, Stride = 8 };
        var sparse = SparseAttention.Of(q, k, v, policy, causal, out var selection);
        Assert.Equal(1.0, SparseAttention.Density(selection, 75, 75, policy, causal), 12);
        KernelData.Near(KernelData.Doubles(Functional.Attention(q, k, v, causal: causal)), KernelData.Doubles(sparse), 4e-6, 4e-6, "");
    }

    [Theory]
    [InlineData(true, 1.0)]
    [InlineData(true, 0.8)]
    [InlineData(false, 1.0)]
    public void Of_PaddedSequencesOfDifferentLengths_EqualsEachAlone(bool causal, double mass)
    {
        const int heads = 4, kvHeads = 2, rows = 90, keys = 120, dim = 8;
        int[] queryLengths = [90, 37, 5, 0], keyLengths = [120, 61, 40, 10];
        var policy = new SparsePolicy { Density = 0.5, Mass = mass, QueryBlock = 16, KeyBlock = 8, Stride = 4 };
        foreach (var (dtype, error) in new[] { (Dtype.Float64, 1e-12), (Dtype.Float32, 1e-5) })
        {
            using var scope = TensorScope.Open();
            var batch = queryLengths.Length;
            float[][] data = [KernelData.Normal(1, batch * heads * rows * dim), KernelData.Normal(2, batch * kvHeads * keys * dim), KernelData.Normal(3, batch * kvHeads * keys * dim), KernelData.Normal(4, batch * heads * rows * dim)];
            long[][] shapes = [[batch, heads, rows, dim], [batch, kvHeads, keys, dim], [batch, kvHeads, keys, dim], [batch, heads, rows, dim]];
            int[][] lengths = [queryLengths, keyLengths, keyLengths, queryLengths];
            var whole = Enumerable.Range(0, 4).Select(i => Tensor.From<float>(Poisoned(data[i], shapes[i], lengths[i]), shapes[i]).To(dtype).Keep()).ToArray();
            for (var i = 0; i < 3; i++)
            {
                whole[i].WithGrad();
            }
            var (lengthsQ, lengthsK) = (Tensor.From<int>(queryLengths, batch), Tensor.From<int>(keyLengths, batch));
            var output = SparseAttention.Of(whole[0].Tensor, whole[1].Tensor, whole[2].Tensor, policy, causal, lengthsQ, lengthsK);
            // Nothing reaches the loss from behind the lengths: those rows are 0, and zeros leave no gradient.
            var weight = Tensor.From<float>(data[3], shapes[3]).To(dtype);
            (output * weight).Sum().Backward();
            for (var b = 0; b < batch; b++)
            {
                Assert.All(KernelData.Doubles(output.Narrow(0, b, 1).Narrow(2, queryLengths[b], rows - queryLengths[b])), x => Assert.Equal(0, x));
                if (queryLengths[b] == 0)
                {
                    continue;
                }
                var alone = Enumerable.Range(0, 3).Select(i => Tensor.From<float>(data[i], shapes[i]).To(dtype).Narrow(0, b, 1).Narrow(2, 0, lengths[i][b]).Keep().WithGrad()).ToArray();
                var expected = SparseAttention.Of(alone[0].Tensor, alone[1].Tensor, alone[2].Tensor, policy, causal);
                KernelData.Near(KernelData.Doubles(expected), KernelData.Doubles(output.Narrow(0, b, 1).Narrow(2, 0, queryLengths[b])), error, error, $"{dtype} sequence {b} ");
                (expected * weight.Narrow(0, b, 1).Narrow(2, 0, queryLengths[b])).Sum().Backward();
                for (var i = 0; i < 3; i++)
                {
                    KernelData.Near(KernelData.Doubles(alone[i].Tensor.Grad()), KernelData.Doubles(whole[i].Tensor.Grad().Narrow(0, b, 1).Narrow(2, 0, lengths[i][b])), error, error, $"{dtype} gradient {i} of sequence {b} ");
                    alone[i].Dispose();
                }
            }
            foreach (var handle in whole)
            {
                handle.Dispose();
            }
        }
    }

    private static float[] Poisoned(float[] x, long[] shape, int[] lengths)
    {
        var copy = x.ToArray();
        for (var i = 0; i < x.Length; i++)
        {
            copy[i] = i / shape[3] % shape[2] >= lengths[i / (shape[1] * shape[2] * shape[3])] ? float.NaN : x[i];
        }
        return copy;
    }

    [Fact]
    public void Of_WithoutKeysOrQueries_GivesZerosOrNothing()
    {
        using var scope = TensorScope.Open();
        var some = Tensor.From<float>(KernelData.Normal(1, 2 * 5 * 8), 1, 2, 5, 8);
        var none = Tensor.Empty(Dtype.Float32, 1, 2, 0, 8);
        var lists = new BlockSelection(Tensor.From<int>([0, 0], 1, 2, 1, 1), Tensor.From<int>([1, 1], 1, 2, 1));
        Assert.All(KernelData.Doubles(SparseAttention.WithBlocks(some, none, none, lists, 16, 16, false).Output), x => Assert.Equal(0, x));
        var empty = new BlockSelection(Tensor.Empty(Dtype.Int32, 1, 2, 0, 1), Tensor.Empty(Dtype.Int32, 1, 2, 0));
        Assert.Equal(0, SparseAttention.WithBlocks(none, some, some, empty, 16, 16, true).Output.Elements);
    }

    internal static SparseAttentionReference Case(int heads, int kvHeads, int queries, int keys, int dim, int queryBlock, int keyBlock, bool causal, int queryLength, int keyLength) =>
        new(heads, kvHeads, queries, keys, dim, queryBlock, keyBlock, causal, queryLength, keyLength)
        {
            // About half of the blocks, and one query block of the second head with an empty list.
            Listed = (head, row, column) => !(head == 1 && row == 1) && (head * 7 + row * 5 + column * 3) % 4 < 2,
        };

    private static BlockSelection Lists(SparseAttentionReference reference)
    {
        var (rows, columns) = ((reference.Queries + reference.QueryBlock - 1) / reference.QueryBlock, (reference.Keys + reference.KeyBlock - 1) / reference.KeyBlock);
        var (index, count) = (new int[reference.Heads * rows * columns], new int[reference.Heads * rows]);
        for (var list = 0; list < count.Length; list++)
        {
            var chosen = Enumerable.Range(0, columns).Where(c => reference.Listed(list / rows, list % rows, c)).ToArray();
            // Entries behind the count are never read: they name a block far outside.
            Array.Fill(index, 1 << 28, list * columns, columns);
            chosen.CopyTo(index, list * columns);
            count[list] = chosen.Length;
        }
        return new(Tensor.From<int>(index, 1, reference.Heads, rows, columns), Tensor.From<int>(count, 1, reference.Heads, rows));
    }

    private static (float[] Q, float[] K, float[] V) Inputs(SparseAttentionReference r) =>
        (KernelData.Normal(1, r.Heads * r.Queries * r.Dim), KernelData.Normal(2, r.KvHeads * r.Keys * r.Dim), KernelData.Normal(3, r.KvHeads * r.Keys * r.Dim));

    private static void Poison(float[] x, int rows, int length, int dim)
    {
        for (var i = 0; i < x.Length; i++)
        {
            x[i] = i / dim % rows >= length ? float.NaN : x[i];
        }
    }

    private static double[] Widen(float[] x) => Array.ConvertAll(x, v => (double)v);
}
