using DeepSeek.Engine.Data;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Precision;

/// <summary>The FP8 layer against double precision on the numbers its codes stand for.</summary>
public sealed class Fp8LinearTests
{
    private const int Rows = 6;
    private const int Inputs = 16;
    private const int Outputs = 8;

    // Products of 16 terms in float32 against double precision.
    private const double Tolerance = 1e-5;

    [Fact]
    public void Apply_FirstStep_MultipliesTheRoundedNumbers()
    {
        using var scope = TensorScope.Open();
        using var function = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
        var (x, w, b, g) = (Draw(1, Rows * Inputs), Draw(2, Outputs * Inputs), Draw(3, Outputs), Draw(4, Rows * Outputs));
        using var input = TensorHandle.From<float>(x, Rows, Inputs).WithGrad();
        using var weight = TensorHandle.From<float>(w, Outputs, Inputs).WithGrad();
        using var bias = TensorHandle.From<float>(b, Outputs).WithGrad();

        var y = function.Apply(input.Tensor, weight.Tensor, bias.Tensor);
        (y * Tensor.From<float>(g, Rows, Outputs)).Sum().Backward();

        var (rx, rw, rg) = (Rounded(x, Fp8Format.E4M3), Rounded(w, Fp8Format.E4M3), Rounded(g, Fp8Format.E5M2));
        Close(y, (r, o) => Enumerable.Range(0, Inputs).Sum(i => rx[r * Inputs + i] * rw[o * Inputs + i]) + b[o]);
        Close(input.Tensor.Grad(), (r, i) => Enumerable.Range(0, Outputs).Sum(o => rg[r * Outputs + o] * rw[o * Inputs + i]));
        Close(weight.Tensor.Grad(), (o, i) => Enumerable.Range(0, Rows).Sum(r => rg[r * Outputs + o] * rx[r * Inputs + i]));
        Close(bias.Tensor.Grad().Reshape(1, -1), (_, o) => Enumerable.Range(0, Rows).Sum(r => (double)g[r * Outputs + o]));
    }

    [Fact]
    public void Apply_SuddenlyLargerInput_SaturatesOnceAndThenFits()
    {
        using var scope = TensorScope.Open();
        using var function = new Fp8Linear(history: 4, margin: 0, Device.Cpu);
        var w = Tensor.From<float>([1], 1, 1);

        Assert.Equal(1, function.Apply(Tensor.From<float>([1], 1, 1), w).Item());
        Assert.Equal(1.75, function.Apply(Tensor.From<float>([64], 1, 1), w).Item()); // the scale is still 256: 448/256
        Assert.Equal(64, function.Apply(Tensor.From<float>([64], 1, 1), w).Item());
    }

    [Fact]
    public void Apply_ThreeDimensions_KeepsThem()
    {
        using var scope = TensorScope.Open();
        using var function = new Fp8Linear(history: 4, margin: 1, Device.Cpu);

        var y = function.Apply(Tensor.From<float>(Draw(5, 2 * 3 * Inputs), 2, 3, Inputs), Tensor.From<float>(Draw(6, Outputs * Inputs), Outputs, Inputs));

        Assert.Equal([2, 3, Outputs], y.Shape());
    }

    /// <summary>A layer of bfloat16 weights, kept [in, out], against the float32 layer of the same numbers: every result is that one's, rounded.</summary>
    [Fact]
    public void Apply_HalfPrecisionOnATurnedWeight_GivesTheSameRounded()
    {
        using var scope = TensorScope.Open();
        var (x, w, b, g) = (Draw(1, Rows * Inputs), Draw(2, Outputs * Inputs), Draw(3, Outputs), Draw(4, Rows * Outputs));
        Tensor[] Results(Dtype dtype)
        {
            using var function = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
            // Numbers of bfloat16 on either side.
            using var input = Tensor.From<float>(x, Rows, Inputs).To(Dtype.BFloat16).To(dtype).Keep().WithGrad();
            using var weight = Tensor.From<float>(w, Inputs, Outputs).To(Dtype.BFloat16).To(dtype).Keep().WithGrad();
            using var bias = Tensor.From<float>(b, Outputs).To(Dtype.BFloat16).To(dtype).Keep().WithGrad();
            var y = function.Apply(input.Tensor, weight.Tensor.Transpose(0, 1), bias.Tensor);
            (y * Tensor.From<float>(g, Rows, Outputs).To(Dtype.BFloat16).To(dtype)).Sum().Backward();
            Assert.Equal(dtype, y.Dtype);
            return [y, input.Tensor.Grad(), weight.Tensor.Grad()];
        }

        foreach (var (half, full) in Results(Dtype.BFloat16).Zip(Results(Dtype.Float32)))
        {
            Assert.Equal(full.To(Dtype.BFloat16).To(Dtype.Float32).ToArray<float>(), half.To(Dtype.Float32).ToArray<float>());
        }
    }

    /// <summary>On a GPU, whose matrix cores multiply: sizes they take, in bfloat16, against the decoded codes' products in double precision.</summary>
    [Fact]
    public void Apply_OnAGpu_MultipliesTheRoundedNumbers()
    {
        Gpu.Require();
        const int rows = 48, inputs = 160, outputs = 272; // multiples of 16, none of the tile
        using var scope = TensorScope.Open();
        using var function = new Fp8Linear(history: 4, margin: 1, Device.Cuda());
        var (x, w, b, g) = (Halves(1, rows * inputs), Halves(2, outputs * inputs), Halves(3, outputs), Halves(4, rows * outputs));
        TensorHandle On(float[] values, params long[] sizes)
        {
            var tensor = TensorHandle.From<float>(values, sizes);
            tensor.MoveTo(Device.Cuda(), Dtype.BFloat16);
            return tensor.WithGrad();
        }
        using var input = On(x, rows, inputs);
        using var weight = On(w, outputs, inputs);
        using var bias = On(b, outputs);
        using var gradient = On(g, rows, outputs);

        var y = function.Apply(input.Tensor, weight.Tensor, bias.Tensor);
        (y * gradient.Tensor).Sum().Backward();

        var (rx, rw, rg) = (Rounded(x, Fp8Format.E4M3), Rounded(w, Fp8Format.E4M3), Rounded(g, Fp8Format.E5M2));
        Near(y, outputs, (r, o) => Enumerable.Range(0, inputs).Sum(i => rx[r * inputs + i] * rw[o * inputs + i]) + b[o]);
        Near(input.Tensor.Grad(), inputs, (r, i) => Enumerable.Range(0, outputs).Sum(o => rg[r * outputs + o] * rw[o * inputs + i]));
        Near(weight.Tensor.Grad(), inputs, (o, i) => Enumerable.Range(0, rows).Sum(r => rg[r * outputs + o] * rx[r * inputs + i]));
        Near(bias.Tensor.Grad().Reshape(1, -1), outputs, (_, o) => Enumerable.Range(0, rows).Sum(r => (double)g[r * outputs + o]));

        // One rounding to bfloat16 (2⁻⁹ of the value), and what the matrix cores' shorter sums lose: 2⁻¹³ of the largest addend a term.
        static void Near(Tensor actual, int columns, Func<int, int, double> expected)
        {
            var values = actual.To(Dtype.Float32).To(Device.Cpu).ToArray<float>();
            for (var i = 0; i < values.Length; i++)
            {
                var wanted = expected(i / columns, i % columns);
                Assert.Equal(wanted, values[i], Math.Abs(wanted) / 256 + 0.02);
            }
        }
    }

    /// <summary>The feed-forward operator against its two layers with GELU between: the same codes and products, and so the same numbers.</summary>
    [Fact]
    public void GeluMlp_OfTwoLayers_GivesTheirNumbers()
    {
        var values = new[] { Draw(1, Rows * Inputs), Draw(2, Outputs * Inputs), Draw(3, Outputs), Draw(4, Inputs * Outputs), Draw(5, Inputs) };
        long[][] sizes = [[Rows, Inputs], [Outputs, Inputs], [Outputs], [Inputs, Outputs], [Inputs]];
        var (joined, apart) = (Run(true), Run(false));

        Assert.All(joined.Zip(apart), p => Near(p.Second, p.First));

        float[][] Run(bool joins)
        {
            using var scope = TensorScope.Open();
            using var wide = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
            using var narrow = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
            TensorHandle[] given = [.. values.Zip(sizes, (v, s) => TensorHandle.From<float>(v, s).WithGrad())];
            var t = given.Select(g => g.Tensor).ToArray();
            Tensor y = default;
            for (var step = 0; step < 3; step++)
            {
                y = joins ? Fp8Linear.GeluMlp(t[0] * (1 + step), wide, t[1], t[2], narrow, t[3], t[4], null) : narrow.Apply(wide.Apply(t[0] * (1 + step), t[1], t[2]).GeluTanh(), t[3], t[4]);
                (y * y).Sum().Backward();
            }
            float[][] results = [y.ToArray<float>(), .. t.Select(x => x.Grad().ToArray<float>()), wide.State.Tensor.ToArray<float>(), narrow.State.Tensor.ToArray<float>()];
            Array.ForEach(given, g => g.Dispose());
            return results;
        }
    }

    /// <summary>The attention operator against the layer and attention over its parts.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ProjectedAttention_OfALayer_GivesItsNumbers(bool causal)
    {
        const int n = 2, length = 3, width = 4, heads = 2;
        var (x, w, b) = (Draw(1, n * length * Inputs), Draw(2, 3 * width * Inputs), Draw(3, 3 * width));
        var (joined, apart) = (Run(true), Run(false));

        Assert.All(joined.Zip(apart), p => Near(p.Second, p.First));

        float[][] Run(bool joins)
        {
            using var scope = TensorScope.Open();
            using var layer = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
            TensorHandle[] given = [TensorHandle.From<float>(x, n, length, Inputs).WithGrad(), TensorHandle.From<float>(w, 3 * width, Inputs).WithGrad(), TensorHandle.From<float>(b, 3 * width).WithGrad()];
            var t = given.Select(g => g.Tensor).ToArray();
            Tensor y;
            if (joins)
            {
                y = layer.ProjectedAttention(t[0], t[1], t[2], heads, causal, null);
            }
            else
            {
                Span<Tensor> parts = [default, default, default];
                layer.Apply(t[0], t[1], t[2]).Split([width, width, width], 2, parts);
                foreach (ref var part in parts)
                {
                    part = part.Reshape(n, length, heads, width / heads).Transpose(1, 2);
                }
                y = Functional.Attention(parts[0], parts[1], parts[2], causal: causal).Transpose(1, 2).Reshape(n, length, width);
            }
            (y * y).Sum().Backward();
            float[][] results = [y.ToArray<float>(), .. t.Select(v => v.Grad().ToArray<float>())];
            Array.ForEach(given, g => g.Dispose());
            return results;
        }
    }

    /// <summary>A pass that is computed again takes the scales of the first time and changes none, so that all bits are those of a plain step.</summary>
    [Fact]
    public void Apply_ComputedAgain_GivesTheSameBits()
    {
        var (plain, again) = (Run(false), Run(true));

        Assert.All(plain.Zip(again), p => Assert.Equal(p.First, p.Second));

        static float[][] Run(bool again)
        {
            using var scope = TensorScope.Open();
            using var layer = new Fp8Linear(history: 2, margin: 1, Device.Cpu);
            using var weight = TensorHandle.From<float>(Draw(2, Outputs * Inputs), Outputs, Inputs).WithGrad();
            using var input = TensorHandle.From<float>(Draw(1, Rows * Inputs), Rows, Inputs).WithGrad();
            for (var step = 0; step < 4; step++)
            {
                // Inputs grow, so that every step's scale is another.
                var x = input.Tensor * Math.Pow(4, step);
                var y = again ? Checkpoint.Run(v => layer.Apply(v, weight.Tensor), x) : layer.Apply(x, weight.Tensor);
                (y * y).Sum().Backward();
            }
            return [input.Tensor.Grad().ToArray<float>(), weight.Tensor.Grad().ToArray<float>(), layer.State.Tensor.ToArray<float>()];
        }
    }

    /// <summary>Under autocast the result is half precision, and nothing inside is cast by autocast.</summary>
    [Fact]
    public void Apply_UnderAutocast_MultipliesTheCodes()
    {
        using var scope = TensorScope.Open();
        var (x, w) = (Tensor.From<float>(Draw(1, Rows * Inputs), Rows, Inputs), Tensor.From<float>(Draw(2, Outputs * Inputs), Outputs, Inputs));
        using var first = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
        using var second = new Fp8Linear(history: 4, margin: 1, Device.Cpu);
        var plain = first.Apply(x, w).To(Dtype.BFloat16).To(Dtype.Float32).ToArray<float>();
        using var autocast = Autocast.Enter(DeviceType.Cpu, Dtype.BFloat16);

        var y = second.Apply(x, w, type: Dtype.BFloat16);

        Assert.Equal(Dtype.BFloat16, y.Dtype);
        Assert.Equal(plain, y.To(Dtype.Float32).ToArray<float>());
    }

    // Two ways to sum the same float32 terms.
    private static void Near(float[] expected, float[] actual)
    {
        var bound = 1e-5 * expected.Max(Math.Abs);
        Assert.All(expected.Zip(actual), p => Assert.Equal(p.First, p.Second, bound));
    }

    private static float[] Halves(long seed, int count)
    {
        using var scope = TensorScope.Open();
        return Tensor.From<float>(Draw(seed, count), count).To(Dtype.BFloat16).To(Dtype.Float32).ToArray<float>();
    }

    // As the layer's first step scales: the largest power of two that leaves one more power free.
    private static double[] Rounded(float[] values, Fp8Format format)
    {
        using var scope = TensorScope.Open();
        var scale = Tensor.Scalar((float)Math.Pow(2, Math.Floor(Math.Log2(Fp8.Largest(format) / values.Max(Math.Abs))) - 1));
        return [.. Fp8.Decode(Fp8.Encode(Tensor.From<float>(values, values.Length), scale, format).Codes, scale, format).ToArray<float>().Select(v => (double)v)];
    }

    private static void Close(Tensor actual, Func<int, int, double> expected)
    {
        var (rows, columns) = ((int)actual.Size(0), (int)actual.Size(1));
        var values = actual.ToArray<float>();
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++)
            {
                Assert.Equal(expected(r, c), values[r * columns + c], Tolerance);
            }
        }
    }

    private static float[] Draw(long seed, int count)
    {
        var random = new SeededRandom(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (random.Below(20001) - 10000) / 10000f)];
    }
}
