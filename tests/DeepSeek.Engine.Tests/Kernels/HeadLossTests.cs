using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class HeadLossTests
{
    // Odd sizes take the plain operators on the GPU too; 512 classes take the kernel; a chunk of 5 splits the rows unevenly.
    [Theory]
    [InlineData("cpu", 7, 5, 13, 3)]
    [InlineData("cpu", 12, 8, 16, 5)]
    [InlineData("cuda:0", 7, 5, 13, 3)]
    [InlineData("cuda:0", 33, 24, 512, 5)]
    [InlineData("cuda:0", 3, 16, 50304, 2)]
    public void Of_Float32_GivesTheLossAndGradientsOfTheFloat64Definition(string place, int rows, int width, int classes, int chunk) =>
        Check(place, Dtype.Float32, rows, width, classes, chunk, 1e-5, 1e-5);

    // Logits and gradients are rounded to eight bits of mantissa.
    [Theory]
    [InlineData("cpu", 12, 8, 16, 5)]
    [InlineData("cuda:0", 33, 24, 512, 5)]
    public void Of_BFloat16_StaysWithinItsRounding(string place, int rows, int width, int classes, int chunk) =>
        Check(place, Dtype.BFloat16, rows, width, classes, chunk, 2e-2, 3e-2);

    [Fact]
    public void Of_RowsOfAnotherNumber_AreRefused()
    {
        using var scope = TensorScope.Open();
        var fault = Assert.Throws<NativeException>(() => HeadLoss.Of(Tensor.From<float>([1, 2], 1, 2), Tensor.From<float>([1, 2], 1, 2), Tensor.From<long>([0, 0], 2)).IsNone);
        Assert.Contains("targets", fault.Message, StringComparison.Ordinal);
    }

    private static void Check(string place, Dtype dtype, int rows, int width, int classes, int chunk, double lossTolerance, double gradientTolerance)
    {
        var device = place == "cpu" ? Device.Cpu : Gpu.Require();
        EngineRuntime.Seed(9);
        using var scope = TensorScope.Open();
        using var x = Draw(rows, width);
        using var w = Draw(classes, width);
        x.MoveTo(device, dtype);
        w.MoveTo(device, dtype);
        long[] targets = [.. Enumerable.Range(0, rows).Select(r => r == 2 ? -100L : r * 7 % classes)];
        var loss = HeadLoss.Of(x.WithGrad().Tensor, w.WithGrad().Tensor, Tensor.From<long>(targets, rows).To(device), chunk);
        (loss * 3).Backward();

        var a = x.Tensor.Detach().To(Device.Cpu, Dtype.Float64).ToArray<double>();
        var b = w.Tensor.Detach().To(Device.Cpu, Dtype.Float64).ToArray<double>();
        var (expected, dx, dw) = Reference(a, b, targets, rows, width, classes, 3);
        Assert.Equal(expected, loss.Item(), lossTolerance * Math.Max(1, expected));
        Assert.InRange(Distance(x.Tensor.Grad(), dx), 0, gradientTolerance);
        Assert.InRange(Distance(w.Tensor.Grad(), dw), 0, gradientTolerance);
    }

    private static TensorHandle Draw(int rows, int columns)
    {
        var tensor = TensorHandle.Empty(Dtype.Float32, rows, columns);
        tensor.Tensor.NormalInPlace(0, 1);
        return tensor;
    }

    private static double Distance(Tensor actual, double[] expected)
    {
        var values = actual.To(Device.Cpu, Dtype.Float64).ToArray<double>();
        return Math.Sqrt(values.Zip(expected, (p, q) => (p - q) * (p - q)).Sum() / expected.Sum(q => q * q));
    }

    private static (double Loss, double[] Dx, double[] Dw) Reference(double[] x, double[] w, long[] targets, int rows, int width, int classes, double scale)
    {
        var (loss, dx, dw) = (0.0, new double[x.Length], new double[w.Length]);
        var count = targets.Count(t => t >= 0);
        for (var r = 0; r < rows; r++)
        {
            if (targets[r] < 0)
            {
                continue;
            }
            var logits = new double[classes];
            for (var c = 0; c < classes; c++)
            {
                for (var i = 0; i < width; i++)
                {
                    logits[c] += x[r * width + i] * w[c * width + i];
                }
            }
            var most = logits.Max();
            var sum = logits.Sum(l => Math.Exp(l - most));
            loss += (Math.Log(sum) + most - logits[targets[r]]) / count;
            for (var c = 0; c < classes; c++)
            {
                var g = scale / count * (Math.Exp(logits[c] - most) / sum - (c == targets[r] ? 1 : 0));
                for (var i = 0; i < width; i++)
                {
                    dx[r * width + i] += g * w[c * width + i];
                    dw[c * width + i] += g * x[r * width + i];
                }
            }
        }
        return (loss, dx, dw);
    }
}
