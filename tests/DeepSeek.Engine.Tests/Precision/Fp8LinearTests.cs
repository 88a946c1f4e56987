using DeepSeek.Engine.Data;
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
        using var function = new Fp8Linear(history: 4, margin: 1);
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
        using var function = new Fp8Linear(history: 4, margin: 0);
        var w = Tensor.From<float>([1], 1, 1);

        Assert.Equal(1, function.Apply(Tensor.From<float>([1], 1, 1), w).Item());
        Assert.Equal(1.75, function.Apply(Tensor.From<float>([64], 1, 1), w).Item()); // the scale is still 256: 448/256
        Assert.Equal(64, function.Apply(Tensor.From<float>([64], 1, 1), w).Item());
    }

    [Fact]
    public void Apply_ThreeDimensions_KeepsThem()
    {
        using var scope = TensorScope.Open();
        using var function = new Fp8Linear(history: 4, margin: 1);

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
            using var function = new Fp8Linear(history: 4, margin: 1);
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
        using var function = new Fp8Linear(history: 4, margin: 1);
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
