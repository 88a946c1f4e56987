using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class FusedNormTests
{
    private const double Epsilon = 1e-5;
    private const long Seed = 0x1234567890ABCDEF, Offset = 77;

    [Fact]
    public void Philox_OfTheReference_GivesThePublishedVector() =>
        Assert.Equal([0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u], PhiloxReference.Block(0, 0, 0, 10));

    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 13)]
    [InlineData(3, 130)]
    [InlineData(5, 1024)]
    [InlineData(2, 4099)]
    public void Forward_OnEachInstructionSet_EqualsFloat64(int rows, int columns)
    {
        foreach (var (dtype, stream) in new[] { (Dtype.Float32, Dtype.Float32), (Dtype.BFloat16, Dtype.BFloat16), (Dtype.Float16, Dtype.Float16), (Dtype.BFloat16, Dtype.Float32) })
        {
            foreach (var rms in new[] { false, true })
            {
                KernelData.OnEachInstructionSet(set => CheckForward(rows, columns, dtype, stream, rms, $"{set} {dtype}/{stream} rms {rms} "));
            }
        }
    }

    // Results of 8 MiB and more are written past the caches, smaller ones are not.
    [Theory]
    [InlineData(Dtype.Float32, Dtype.Float32, 1100, 1024)]
    [InlineData(Dtype.Float32, Dtype.Float32, 700, 1552)]
    [InlineData(Dtype.BFloat16, Dtype.BFloat16, 2200, 1024)]
    [InlineData(Dtype.Float16, Dtype.Float32, 1500, 1056)]
    public void Forward_OfManyRows_EqualsThatOfFewBitForBit(Dtype dtype, Dtype stream, int rows, int columns)
    {
        var (x, residual, weight, bias) = (KernelData.Normal(1, (long)rows * columns), KernelData.Normal(2, (long)rows * columns), KernelData.Normal(3, columns), KernelData.Normal(4, columns));
        KernelData.OnEachInstructionSet(set =>
        {
            using var scope = TensorScope.Open();
            var (a, r) = (Tensor.From<float>(x, rows, columns).To(dtype), Tensor.From<float>(residual, rows, columns).To(stream));
            var (w, b) = (Tensor.From<float>(weight, columns), Tensor.From<float>(bias, columns));
            var (y, z) = Call(a, r, w, b, false, 0.3);
            var (firstY, firstZ) = Call(a.Narrow(0, 0, 40), r.Narrow(0, 0, 40), w, b, false, 0.3);
            Assert.Equal(KernelData.Doubles(firstZ), KernelData.Doubles(z.Narrow(0, 0, 40)));
            Assert.Equal(KernelData.Doubles(firstY), KernelData.Doubles(y.Narrow(0, 0, 40)));
            // The mask is a function of the row's number: without dropout any rows can be compared.
            (y, z) = Call(a, r, w, b, false, 0);
            (firstY, firstZ) = Call(a.Narrow(0, rows - 40, 40), r.Narrow(0, rows - 40, 40), w, b, false, 0);
            Assert.Equal(KernelData.Doubles(firstZ), KernelData.Doubles(z.Narrow(0, rows - 40, 40)));
            Assert.Equal(KernelData.Doubles(firstY), KernelData.Doubles(y.Narrow(0, rows - 40, 40)));
        });
    }

    [Theory]
    [InlineData(Dtype.Float32, Dtype.Float32, 1100, 1024)]
    [InlineData(Dtype.BFloat16, Dtype.Float32, 1500, 1056)]
    public void Backward_OfManyRows_EqualsThatOfFewBitForBit(Dtype dtype, Dtype stream, int rows, int columns)
    {
        var (x, residual, weight, dy) = (KernelData.Normal(1, (long)rows * columns), KernelData.Normal(2, (long)rows * columns), KernelData.Normal(3, columns), KernelData.Normal(4, (long)rows * columns));
        KernelData.OnEachInstructionSet(set =>
        {
            using var scope = TensorScope.Open();
            (double[] X, double[] Residual) Gradients(int kept)
            {
                Tensor First(float[] values, Dtype type) => Tensor.From<float>(values, rows, columns).To(type).Narrow(0, 0, kept);
                using var a = First(x, dtype).Keep().WithGrad();
                using var r = First(residual, stream).Keep().WithGrad();
                var (y, z) = Call(a.Tensor, r.Tensor, Tensor.From<float>(weight, columns), default, true, 0.3);
                ((y * First(dy, dtype)).Sum() + z.To(dtype).Sum()).Backward();
                return (KernelData.Doubles(a.Tensor.Grad().Narrow(0, 0, 40)), KernelData.Doubles(r.Tensor.Grad().Narrow(0, 0, 40)));
            }
            var (all, few) = (Gradients(rows), Gradients(40));
            Assert.Equal(few.X, all.X);
            Assert.Equal(few.Residual, all.Residual);
        });
    }

    private static void CheckForward(int rows, int columns, Dtype dtype, Dtype stream, bool rms, string what)
    {
        using var scope = TensorScope.Open();
        var (x, residual, weight, bias) = (KernelData.Normal(1, rows * columns), KernelData.Normal(2, rows * columns), KernelData.Normal(3, columns), KernelData.Normal(4, columns));
        var (y, z) = Call(Tensor.From<float>(x, rows, columns).To(dtype), Tensor.From<float>(residual, rows, columns).To(stream), Tensor.From<float>(weight, columns), Tensor.From<float>(bias, columns), rms, 0.3);
        var expected = new NormReference(rows, columns, KernelData.Rounded(x, dtype), KernelData.Rounded(residual, stream), Array.ConvertAll(weight, w => (double)w), rms ? null : Array.ConvertAll(bias, b => (double)b), rms, 0.3, Seed, Offset);
        // One rounding to the stored type: half a unit in the last place, 2^-24, 2^-9 or 2^-12 of the value; the sums add a little.
        var (streamError, error) = (Unit(stream), Unit(dtype));
        KernelData.Near(expected.Z, KernelData.Doubles(z), 1e-6, streamError, what + "z");
        KernelData.Near(expected.Y(KernelData.Doubles(z)), KernelData.Doubles(y), 2e-6, error + 4e-6, what + "y");
        Assert.Equal(dtype, y.Dtype);
        Assert.Equal(stream, z.Dtype);
    }

    // The same sums in float32, and in half precision one rounding of each result more or less.
    [Theory]
    [InlineData("cpu", Dtype.Float32, Dtype.Float32, 7, 21, 0.3, 2e-6)]
    [InlineData("cpu", Dtype.BFloat16, Dtype.BFloat16, 5, 130, 0.0, 1e-2)]
    [InlineData("cpu", Dtype.BFloat16, Dtype.Float32, 40, 64, 0.3, 1e-2)]
    [InlineData("cuda:0", Dtype.Float32, Dtype.Float32, 7, 21, 0.3, 2e-6)]
    [InlineData("cuda:0", Dtype.BFloat16, Dtype.BFloat16, 3000, 768, 0.0, 1e-2)]
    [InlineData("cuda:0", Dtype.BFloat16, Dtype.Float32, 300, 768, 0.3, 1e-2)]
    [InlineData("cuda:0", Dtype.Float16, Dtype.Float16, 40, 4099, 0.0, 2e-3)]
    public void DropoutAddLayerNorm_WithABiasOfX_IsThatOfTheSum(string place, Dtype dtype, Dtype stream, int rows, int columns, double p, double tolerance)
    {
        var device = place == "cpu" ? Device.Cpu : Gpu.Require();
        KernelData.OnEachInstructionSet(set =>
        {
            var actual = Gradients(dtype, stream, (x, r, w, b, c) => FusedNorm.DropoutAddLayerNorm(x, r, w, b, p, Epsilon, Seed, Offset, default, c));
            var expected = Gradients(Dtype.Float32, Dtype.Float32, (x, r, w, b, c) => FusedNorm.DropoutAddLayerNorm(x + c, r, w, b, p, Epsilon, Seed, Offset));
            for (var i = 0; i < expected.Length; i++)
            {
                var distance = Math.Sqrt(expected[i].Zip(actual[i], (a, b) => (a - b) * (a - b)).Sum() / expected[i].Sum(a => a * a));
                Assert.True(distance <= tolerance, $"{set}, result {i}: {distance:g3}");
            }
        });

        double[][] Gradients(Dtype type, Dtype wide, Func<Tensor, Tensor, Tensor, Tensor, Tensor, (Tensor Y, Tensor Z)> norm)
        {
            using var scope = TensorScope.Open();
            TensorHandle Leaf(int seed, Dtype rounded, Dtype made, params long[] sizes) => Tensor.From<double>(KernelData.Rounded(KernelData.Normal(seed, sizes.Aggregate(1L, (a, b) => a * b)), rounded), sizes).To(made).To(device).Detach().Keep().WithGrad();
            TensorHandle[] leaves = [Leaf(1, dtype, type, rows, columns), Leaf(2, stream, wide, rows, columns), Leaf(3, Dtype.Float32, Dtype.Float32, columns), Leaf(4, Dtype.Float32, Dtype.Float32, columns), Leaf(5, dtype, type, columns)];
            var (y, z) = norm(leaves[0].Tensor, leaves[1].Tensor, leaves[2].Tensor, leaves[3].Tensor, leaves[4].Tensor);
            var weights = Tensor.From<double>(KernelData.Rounded(KernelData.Normal(6, rows * columns), Dtype.BFloat16), rows, columns).To(Dtype.Float32).To(device);
            ((y.To(Dtype.Float32) * weights).Sum() + (z.To(Dtype.Float32) * weights).Sum() * 0.5).Backward();
            double[][] results = [KernelData.Doubles(y.To(Device.Cpu)), KernelData.Doubles(z.To(Device.Cpu)), .. leaves.Select(l => KernelData.Doubles(l.Tensor.Grad().To(Device.Cpu)))];
            Array.ForEach(leaves, l => l.Dispose());
            return results;
        }
    }

    private static double Unit(Dtype dtype) => dtype switch { Dtype.BFloat16 => 1.01 / 256, Dtype.Float16 => 1.01 / 2048, _ => 1e-6 };

    [Theory]
    [InlineData(false, 0.0)]
    [InlineData(false, 0.4)]
    [InlineData(true, 0.4)]
    public void Backward_OnEachInstructionSet_EqualsCentralDifferences(bool rms, double p)
    {
        const int rows = 3, columns = 21;
        var (x, residual, weight, bias) = (KernelData.Normal(5, rows * columns), KernelData.Normal(6, rows * columns), KernelData.Normal(7, columns), KernelData.Normal(8, columns));
        var (dy, dz) = (KernelData.Normal(9, rows * columns), KernelData.Normal(10, rows * columns));
        double[][] inputs = [Widen(x), Widen(residual), Widen(weight), Widen(bias)];
        double Loss()
        {
            var reference = new NormReference(rows, columns, inputs[0], inputs[1], inputs[2], rms ? null : inputs[3], rms, p, Seed, Offset);
            return reference.Y(reference.Z).Zip(dy, (a, b) => a * b).Sum() + reference.Z.Zip(dz, (a, b) => a * b).Sum();
        }
        KernelData.OnEachInstructionSet(set =>
        {
            using var scope = TensorScope.Open();
            using var tx = TensorHandle.From<float>(x, rows, columns).WithGrad();
            using var tr = TensorHandle.From<float>(residual, rows, columns).WithGrad();
            using var tw = TensorHandle.From<float>(weight, columns).WithGrad();
            using var tb = TensorHandle.From<float>(bias, columns).WithGrad();
            var (y, z) = Call(tx.Tensor, tr.Tensor, tw.Tensor, tb.Tensor, rms, p);
            ((y * Tensor.From<float>(dy, rows, columns)).Sum() + (z * Tensor.From<float>(dz, rows, columns)).Sum()).Backward();
            TensorHandle[] leaves = rms ? [tx, tr, tw] : [tx, tr, tw, tb];
            for (var leaf = 0; leaf < leaves.Length; leaf++)
            {
                // The differences are exact to 1e-9; what is left is the kernels' float32 arithmetic.
                KernelData.Near(KernelData.Differences(inputs[leaf], Loss), KernelData.Doubles(leaves[leaf].Tensor.Grad()), 1e-5, 1e-5, $"{set} gradient {leaf} ");
            }
        });
    }

    [Theory]
    [InlineData(Dtype.BFloat16)]
    [InlineData(Dtype.Float16)]
    public void Backward_OfHalfPrecision_StaysWithinItsRounding(Dtype dtype)
    {
        const int rows = 40, columns = 136;
        var (x, residual, weight, dy) = (KernelData.Normal(5, rows * columns), KernelData.Normal(6, rows * columns), KernelData.Normal(7, columns), KernelData.Normal(9, rows * columns));
        double[][] Gradients(Dtype type)
        {
            using var scope = TensorScope.Open();
            using var tx = Half(x, type, rows, columns);
            using var tr = Half(residual, type, rows, columns);
            using var tw = Half(weight, type, columns);
            var (y, _) = FusedNorm.DropoutAddLayerNorm(tx.Tensor, tr.Tensor, tw.Tensor, default, 0.2, Epsilon, Seed, Offset);
            (y.To(Dtype.Float32) * Tensor.From<float>(dy, rows, columns).To(dtype).To(Dtype.Float32)).Sum().Backward();
            return [KernelData.Doubles(tx.Tensor.Grad()), KernelData.Doubles(tr.Tensor.Grad()), KernelData.Doubles(tw.Tensor.Grad())];
        }
        TensorHandle Half(float[] values, Dtype type, params long[] sizes) => Tensor.From<float>(values, sizes).To(dtype).To(type).Keep().WithGrad();
        var (half, single) = (Gradients(dtype), Gradients(Dtype.Float32));
        for (var i = 0; i < 3; i++)
        {
            // z is rounded once before its statistics are taken, each gradient once when stored.
            KernelData.Near(single[i], half[i], 12 * Unit(dtype), 4 * Unit(dtype), $"gradient {i} ");
        }
    }

    [Fact]
    public void Mask_ForSeedAndOffset_IsTheReferencesOnEachInstructionSet()
    {
        const int rows = 9, columns = 1037;
        KernelData.OnEachInstructionSet(set =>
        {
            using var scope = TensorScope.Open();
            var ones = Tensor.From<float>(Enumerable.Repeat(1f, rows * columns).ToArray(), rows, columns);
            var z = FusedNorm.DropoutAddRmsNorm(ones, default, default, 0.25, Epsilon, Seed, -3).Z.ToArray<float>();
            for (var i = 0; i < z.Length; i++)
            {
                Assert.Equal(PhiloxReference.Keeps(Seed, -3, i / columns, i % columns, columns, 0.25) ? (float)PhiloxReference.Scale(0.25) : 0f, z[i]);
            }
        });
    }

    [Theory]
    [InlineData(0.1)]
    [InlineData(0.5)]
    public void Dropout_OfManyElements_DropsItsShareAndReplaysBySeed(double p)
    {
        using var scope = TensorScope.Open();
        var ones = Tensor.From<float>(Enumerable.Repeat(1f, 256 * 1000).ToArray(), 256, 1000);
        float[] Mask(long seed, long offset, Tensor rng = default) => FusedNorm.DropoutAddLayerNorm(ones, default, default, default, p, Epsilon, seed, offset, rng).Z.ToArray<float>();
        var first = Mask(1, 1);
        Assert.InRange(first.Count(v => v == 0) / (double)first.Length, p - 0.01, p + 0.01);
        Assert.Equal(first, Mask(1, 1));
        Assert.NotEqual(first, Mask(2, 1));
        Assert.NotEqual(first, Mask(1, 2));
        Assert.Equal(first, Mask(0, 0, Tensor.From<long>([1, 1], 2)));
        Assert.All(Mask(1, 1, default).Where(v => v != 0), v => Assert.Equal(PhiloxReference.Scale(p), v, 1e-6));
    }

    [Fact]
    public void Forward_OfAStridedViewBesideNaN_EqualsThatOfACopy()
    {
        const int rows = 6, columns = 50;
        using var scope = TensorScope.Open();
        var values = KernelData.Normal(11, rows * columns);
        var padded = Enumerable.Repeat(float.NaN, rows * (columns + 9)).ToArray();
        for (var r = 0; r < rows; r++)
        {
            values.AsSpan(r * columns, columns).CopyTo(padded.AsSpan(r * (columns + 9) + 4));
        }
        var view = Tensor.From<float>(padded, rows, columns + 9).Narrow(1, 4, columns);
        var copy = Tensor.From<float>(values, rows, columns);
        Assert.Equal(FusedNorm.LayerNorm(copy, default, default, Epsilon).ToArray<float>(), FusedNorm.LayerNorm(view, default, default, Epsilon).ToArray<float>());
        Assert.Equal(Call(copy, copy, default, default, true, 0.1).Y.ToArray<float>(), Call(view, view, default, default, true, 0.1).Y.ToArray<float>());
    }

    [Fact]
    public void Forward_WithoutRowsOrWithAllDropped_IsDefined()
    {
        using var scope = TensorScope.Open();
        using var weight = TensorHandle.Filled(1, 8).WithGrad();
        var (y, z) = FusedNorm.DropoutAddLayerNorm(Tensor.Empty(Dtype.Float32, 0, 8), default, weight.Tensor, default, 0.1, Epsilon, 1, 1);
        Assert.Equal([0, 8], y.Shape());
        y.Sum().Backward();
        Assert.Equal(new float[8], weight.Tensor.Grad().ToArray<float>());
        var x = Tensor.From<float>(KernelData.Normal(1, 24), 3, 8);
        Assert.All(FusedNorm.DropoutAddLayerNorm(x, default, default, default, 1, Epsilon, 1, 1).Z.ToArray<float>(), v => Assert.Equal(0, v));
        Assert.All(new[] { z.Elements }, e => Assert.Equal(0, e));
    }

    [Fact]
    public void Backward_TwentyTimes_GivesTheSameBits()
    {
        const int rows = 100, columns = 96;
        var (x, dy) = (KernelData.Normal(1, rows * columns), KernelData.Normal(2, rows * columns));
        float[] Run()
        {
            using var scope = TensorScope.Open();
            using var tx = TensorHandle.From<float>(x, rows, columns).WithGrad();
            using var weight = TensorHandle.Filled(1.5f, columns).WithGrad();
            var y = FusedNorm.DropoutAddLayerNorm(tx.Tensor, tx.Tensor, weight.Tensor, default, 0.1, Epsilon, 3, 4).Y;
            (y * Tensor.From<float>(dy, rows, columns)).Sum().Backward();
            return [.. tx.Tensor.Grad().ToArray<float>(), .. weight.Tensor.Grad().ToArray<float>()];
        }
        var first = Run();
        Assert.All(Enumerable.Range(0, 19), _ => Assert.Equal(first, Run()));
    }

    [Fact]
    public void Call_WithUnfittingShapes_NamesTheFault()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, 2, 8);
        Assert.Contains("weight has shape [7]", Assert.ThrowsAny<Exception>(() => FusedNorm.LayerNorm(x, Tensor.Empty(Dtype.Float32, 7), default, Epsilon)).Message);
        Assert.Contains("not in [0, 1]", Assert.ThrowsAny<Exception>(() => FusedNorm.DropoutAddRmsNorm(x, default, default, 1.5, Epsilon, 1, 1)).Message);
    }

    private static (Tensor Y, Tensor Z) Call(Tensor x, Tensor residual, Tensor weight, Tensor bias, bool rms, double p) =>
        rms ? FusedNorm.DropoutAddRmsNorm(x, residual, weight, p, Epsilon, Seed, Offset) : FusedNorm.DropoutAddLayerNorm(x, residual, weight, bias, p, Epsilon, Seed, Offset);

    private static double[] Widen(float[] values) => Array.ConvertAll(values, v => (double)v);

    /// <summary>The operator in double precision.</summary>
    private sealed class NormReference(int rows, int columns, double[] x, double[] residual, double[] weight, double[]? bias, bool rms, double p, long seed, long offset)
    {
        internal double[] Z { get; } = [.. x.Select((value, i) => residual[i] + (p == 0 || PhiloxReference.Keeps(seed, offset, i / columns, i % columns, columns, p) ? value * PhiloxReference.Scale(p) : 0))];

        internal double[] Y(double[] z)
        {
            var y = new double[z.Length];
            for (var r = 0; r < rows; r++)
            {
                var row = z.AsSpan(r * columns, columns).ToArray();
                var mean = rms ? 0 : row.Average();
                var rstd = 1 / Math.Sqrt(row.Sum(v => (v - mean) * (v - mean)) / columns + Epsilon);
                for (var c = 0; c < columns; c++)
                {
                    y[r * columns + c] = (row[c] - mean) * rstd * weight[c] + (bias?[c] ?? 0);
                }
            }
            return y;
        }
    }
}
