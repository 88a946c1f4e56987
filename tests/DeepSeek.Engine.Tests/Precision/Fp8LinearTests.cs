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
