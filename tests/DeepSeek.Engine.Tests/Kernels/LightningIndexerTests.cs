using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class LightningIndexerTests
{
    private enum Kind { Float32, BFloat16, Float16, Fp8 }

    [Theory]
    [InlineData(2, 1, 16, 7, 20, true)]
    [InlineData(1, 2, 24, 5, 90, true)]
    [InlineData(2, 3, 40, 33, 33, true)]
    [InlineData(1, 4, 64, 1, 200, true)] // decode
    [InlineData(1, 6, 17, 9, 130, false)]
    [InlineData(1, 8, 128, 20, 65, true)]
    [InlineData(1, 5, 1, 12, 5, true)] // more queries than keys: the first see none
    public void LogitsAndSelection_OnEachInstructionSet_EqualFloat64Loops(int batch, int heads, int dim, int queries, int keys, bool causal)
    {
        var lengths = batch == 2 ? new[] { keys, keys - 3 } : null;
        foreach (var kind in Enum.GetValues<Kind>())
        {
            KernelData.OnEachInstructionSet(set =>
            {
                using var scope = TensorScope.Open();
                var (q, k, w) = Inputs(batch, heads, dim, queries, keys);
                var (rowsQ, valuesQ) = As(kind, q);
                var (rowsK, valuesK) = As(kind, k);
                var limits = lengths is null ? default : Tensor.From<int>(lengths, batch);
                var expected = Reference(valuesQ, valuesK, KernelData.Doubles(w), batch, heads, dim, queries, keys, causal, lengths);
                var logits = LightningIndexer.Logits(rowsQ, rowsK, w, causal, limits).ToArray<float>();
                // Up to 8 heads' sums of 128 products in float32; what is multiplied is exactly the reference's.
                var error = 2e-6 * dim * heads;
                for (var i = 0; i < logits.Length; i++)
                {
                    Assert.True(expected[i].Equals(logits[i]) || Math.Abs(expected[i] - logits[i]) <= error, $"{set} {kind} logit {i}: {logits[i]}, expected {expected[i]}");
                }
                foreach (var most in new[] { 1, 5, 64, keys })
                {
                    // The exact choice: that of a sort of the logits themselves.
                    Assert.Equal(Chosen(logits, keys, most), Lists(LightningIndexer.Select(rowsQ, rowsK, w, most, causal, limits), keys));
                }
            });
        }
    }

    [Fact]
    public void Select_OfManyKeysWithTies_IsTheSortsChoice()
    {
        using var scope = TensorScope.Open();
        const int queries = 24, keys = 12_000, dim = 8;
        // Few different logits: nearly every choice ends in a tie.
        var k = new float[keys * dim];
        var random = new Random(3);
        for (var j = 0; j < keys; j++)
        {
            k[j * dim] = random.Next(6);
        }
        var q = Tensor.From<float>([.. Enumerable.Range(0, queries * dim).Select(i => i % dim == 0 ? 1f : 0f)], 1, queries, 1, dim);
        var (rowsK, w) = (Tensor.From<float>(k, 1, keys, dim), Tensor.From<float>([.. Enumerable.Repeat(0.5f, queries)], 1, queries, 1));
        var logits = LightningIndexer.Logits(q, rowsK, w).ToArray<float>();
        Assert.Equal(Chosen(logits, keys, 2048), Lists(LightningIndexer.Select(q, rowsK, w, 2048), keys));
    }

    [Fact]
    public void InDecode_EqualsPrefill_BitForBit()
    {
        using var scope = TensorScope.Open();
        var (q, k, w) = Inputs(2, 3, 24, 40, 40);
        var all = LightningIndexer.Logits(q, k, w).ToArray<float>();
        var (rows, codes) = (LightningIndexer.Quantize(q), LightningIndexer.Quantize(k));
        var selected = LightningIndexer.Select(rows, codes, w, 7);
        for (var t = 0; t < 40; t++)
        {
            var one = LightningIndexer.Logits(q.Narrow(1, t, 1), k.Narrow(1, 0, t + 1), w.Narrow(1, t, 1)).ToArray<float>();
            for (var b = 0; b < 2; b++)
            {
                Assert.Equal(all.AsSpan((b * 40 + t) * 40, t + 1).ToArray(), one.AsSpan(b * (t + 1), t + 1).ToArray());
            }
            // From a view of a cache of FP8 keys.
            var step = LightningIndexer.Select(new(rows.Values.Narrow(1, t, 1), rows.Scales.Narrow(1, t, 1)), new(codes.Values.Narrow(1, 0, t + 1), codes.Scales.Narrow(1, 0, t + 1)), w.Narrow(1, t, 1), 7);
            var (expected, found) = (Lists(new(selected.Index.Narrow(1, t, 1), selected.Count.Narrow(1, t, 1)), 40), Lists(step, t + 1));
            Assert.Equal(expected, found);
        }
    }

    [Fact]
    public void TwentyTimes_GivesTheSameBits()
    {
        using var scope = TensorScope.Open();
        var (q, k, w) = Inputs(2, 4, 32, 50, 300);
        var (logits, lists) = (LightningIndexer.Logits(q, k, w).ToArray<float>(), LightningIndexer.Select(q, k, w, 60).Index.ToArray<int>());
        Assert.All(Enumerable.Range(0, 19), _ =>
        {
            Assert.Equal(logits, LightningIndexer.Logits(q, k, w).ToArray<float>());
            Assert.Equal(lists, LightningIndexer.Select(q, k, w, 60).Index.ToArray<int>());
        });
    }

    [Fact]
    public void Quantize_OfAllCodes_GivesThemBackAndRoundsHalvesToEven()
    {
        KernelData.OnEachInstructionSet(_ =>
        {
            using var scope = TensorScope.Open();
            // 448 in each row makes the scale 1. Every finite code, and the middles between neighbours.
            double[] finite = [.. Enumerable.Range(0, 127).Select(code => Decode((byte)code))];
            float[] values = [448, .. finite.Select(x => (float)x), .. finite.Select(x => (float)-x), .. finite.Zip(finite.Skip(1), (a, b) => (float)((a + b) / 2))];
            var rows = LightningIndexer.Quantize(Tensor.From<float>(values, 1, values.Length));
            Assert.Equal([1f], rows.Scales.ToArray<float>());
            var codes = rows.Values.ToArray<byte>();
            for (var i = 0; i < 127; i++)
            {
                Assert.Equal((byte)i, codes[1 + i]);
                Assert.Equal((byte)(i | 0x80), codes[128 + i]);
                Assert.True(i == 126 || codes[255 + i] == i + i % 2, $"half above code {i} became {codes[255 + Math.Min(i, 125)]}");
            }
            // Zero rows have a scale, so that nothing divides by zero; NaN is seen.
            Assert.Equal([1f], LightningIndexer.Quantize(Tensor.From<float>([0, 0], 1, 2)).Scales.ToArray<float>());
            Assert.Equal(0x7f, LightningIndexer.Quantize(Tensor.From<float>([1, float.NaN], 1, 2)).Values.ToArray<byte>()[1] & 0x7f);
        });
    }

    [Theory]
    [InlineData(32, 128, 8, 64, true)] // 512 of 8192: 1/16
    [InlineData(32, 128, 64, 128, false)] // V3.2's own indexer on a GQA model
    [InlineData(4, 32, 1, 16, true)]
    [InlineData(4, 32, 1, 17, false)]
    public void RequireBudget_OfOneSixteenth_IsHeld(int heads, int dim, int indexerHeads, int indexerDim, bool fits)
    {
        var error = Record.Exception(() => LightningIndexer.RequireBudget(heads, dim, indexerHeads, indexerDim));
        Assert.Equal(fits, error is null);
        Assert.True(fits || error!.Message.Contains($"allows {heads * 2 * dim / 16}", StringComparison.Ordinal), error?.Message);
    }

    [Fact]
    public void WithScalesThatDoNotFit_IsRefused()
    {
        using var scope = TensorScope.Open();
        var (q, k, w) = Inputs(1, 2, 8, 3, 4);
        var rows = LightningIndexer.Quantize(q);
        Assert.Contains("needs a scale", Assert.ThrowsAny<Exception>(() => LightningIndexer.Logits(rows.Values, LightningIndexer.Quantize(k), w)).Message);
        Assert.Contains("q is Byte, k is Float", Assert.ThrowsAny<Exception>(() => LightningIndexer.Logits(rows, k, w)).Message);
        Assert.Contains("has scales", Assert.ThrowsAny<Exception>(() => LightningIndexer.Logits(new(q, rows.Scales), k, w)).Message);
        Assert.Contains("at least one key", Assert.ThrowsAny<Exception>(() => LightningIndexer.Select(q, k, w, 0)).Message);
    }

    internal static (Tensor Q, Tensor K, Tensor Weights) Inputs(int batch, int heads, int dim, int queries, int keys) =>
        (Tensor.From<float>(KernelData.Normal(1, (long)batch * queries * heads * dim), batch, queries, heads, dim), Tensor.From<float>(KernelData.Normal(2, (long)batch * keys * dim), batch, keys, dim),
            Tensor.From<float>(KernelData.Normal(3, (long)batch * queries * heads), batch, queries, heads));

    // Rows in a type, and the values that they stand for.
    private static (IndexerRows Rows, double[] Values) As(Kind kind, Tensor x)
    {
        if (kind != Kind.Fp8)
        {
            var rounded = x.To(kind switch { Kind.BFloat16 => Dtype.BFloat16, Kind.Float16 => Dtype.Float16, _ => Dtype.Float32 });
            return (rounded, KernelData.Doubles(rounded));
        }
        var rows = LightningIndexer.Quantize(x);
        var (codes, scales) = (rows.Values.ToArray<byte>(), rows.Scales.ToArray<float>());
        return (rows, [.. codes.Select((code, i) => Decode(code) * scales[i / (codes.Length / scales.Length)])]);
    }

    // OCP 8-bit floating point, E4M3: from its table.
    private static double Decode(byte code)
    {
        var (exponent, fraction) = ((code >> 3) & 15, code & 7);
        var size = exponent == 0 ? fraction * Math.Pow(2, -9) : (1 + fraction / 8.0) * Math.Pow(2, exponent - 7);
        return (code & 0x80) != 0 ? -size : size;
    }

    private static double[] Reference(double[] q, double[] k, double[] w, int batch, int heads, int dim, int queries, int keys, bool causal, int[]? lengths)
    {
        var result = new double[batch * queries * keys];
        for (var i = 0; i < result.Length; i++)
        {
            var (b, t, s) = (i / keys / queries, i / keys % queries, i % keys);
            var length = lengths?[b] ?? keys;
            if (s >= length || causal && s > t + length - queries)
            {
                result[i] = double.NegativeInfinity;
                continue;
            }
            for (var h = 0; h < heads; h++)
            {
                var row = ((b * queries + t) * heads + h) * dim;
                result[i] += w[row / dim] * Math.Max(0, Enumerable.Range(0, dim).Sum(d => q[row + d] * k[(b * keys + s) * dim + d]));
            }
        }
        return result;
    }

    private static int[][] Chosen(float[] logits, int keys, int most) =>
        [.. logits.Chunk(keys).Select(row => Enumerable.Range(0, keys).Where(s => !float.IsNegativeInfinity(row[s])).OrderByDescending(s => row[s] + 0f).ThenBy(s => s).Take(most).Order().ToArray())];

    // The lists, after a look at what stands behind their counts.
    private static int[][] Lists(TokenSelection selection, int keys)
    {
        var (index, count) = (selection.Index.ToArray<int>(), selection.Count.ToArray<int>());
        var lists = index.Chunk(index.Length / count.Length).ToArray();
        Assert.All(lists.Zip(count), list => Assert.All(list.First.Skip(list.Second), entry => Assert.True(entry >= keys)));
        return [.. lists.Zip(count, (list, n) => list[..n])];
    }
}
