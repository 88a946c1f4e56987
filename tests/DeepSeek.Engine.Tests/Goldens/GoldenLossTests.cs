using System.Text.Json;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Engine.Tests.Goldens;

/// <summary>Ten training losses of each family against those that libtorch's own C++ modules and optimisers gave (make.sh).</summary>
public sealed class GoldenLossTests
{
    // Two releases of libtorch with different BLAS libraries agree on these numbers to 3e-7; an error in a formula shows at 1e-3.
    private const double Tolerance = 1e-5;

    private static readonly JsonElement s_golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Goldens", "losses.json"))).RootElement;

    [Fact]
    public void TabularMlp_Classification_LosesAsInCpp()
    {
        using var net = new TabularMlp(new TabularMlpConfig { Inputs = 8, Outputs = 3, Width = 16, Blocks = 2, Dropout = 0 });
        using var optimizer = new AdamW(net, weightDecay: 1e-2);
        using var weights = TensorHandle.From<float>([1, 2, 0.5f], 3);

        Check("tabular classification", net, optimizer, 1e-2, [16, 8], (y, step) => Losses.CrossEntropy(y, Classes(step, 3), weights.Tensor, 0.1));
    }

    [Fact]
    public void TabularMlp_Regression_LosesAsInCpp()
    {
        using var net = new TabularMlp(new TabularMlpConfig
        {
            Inputs = 8,
            Outputs = 1,
            Width = 16,
            Blocks = 2,
            Dropout = 0,
            Normalization = NormKind.Layer,
            Activation = ActivationKind.Gelu,
        });
        using var optimizer = new AdamW(net, weightDecay: 1e-2);

        Check("tabular regression", net, optimizer, 1e-2, [16, 8], (y, step) => Losses.MeanSquaredError(y.Reshape(-1), Numbers(step)));
    }

    [Fact]
    public void ConvNet_Classification_LosesAsInCpp()
    {
        using var net = new ConvNet(new ConvNetConfig { Inputs = 1, Height = 12, Width = 12, Outputs = 5, Channels = [4, 8], Hidden = 16, Dropout = 0 });
        using var optimizer = new Sgd(net, weightDecay: 1e-3, momentum: 0.9, nesterov: true);

        Check("convolutional", net, optimizer, 5e-2, [16, 1, 12, 12], (y, step) => Losses.CrossEntropy(y, Classes(step, 5)));
    }

    private static void Check(string name, Module net, Optimizer optimizer, double rate, long[] sizes, Func<Tensor, int, Tensor> loss)
    {
        Fill(net);
        var expected = s_golden.GetProperty(name).EnumerateArray().Select(e => e.GetDouble()).ToArray();
        Assert.Equal(10, expected.Length);
        for (var step = 0; step < expected.Length; step++)
        {
            using var scope = TensorScope.Open();
            var value = loss(net.Forward(Input(step, sizes)), step);
            value.Backward();
            optimizer.Step(rate);
            optimizer.ClearGradients();
            Assert.True(Math.Abs(value.Item() - expected[step]) <= Tolerance * Math.Abs(expected[step]), $"{name}, step {step}: {value.Item():R} against {expected[step]:R}");
        }
    }

    private static void Fill(Module net)
    {
        var p = 0;
        foreach (var (name, tensor) in net.Parameters())
        {
            var values = tensor.Span<float>();
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = (float)(tensor.Tensor.Rank >= 2 ? 0.25 * Math.Sin(1.7 * i + p)
                    : name.EndsWith("bias", StringComparison.Ordinal) ? 0.05 * Math.Cos(i + p)
                    : 1 + 0.1 * Math.Sin(i + p));
            }
            p++;
        }
    }

    private static Tensor Input(int step, long[] sizes)
    {
        var values = new float[sizes.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++)
        {
            var t = i + 1000.0 * step;
            values[i] = (float)(Math.Sin(0.37 * t) + 0.5 * Math.Cos(1.3 * t + 2));
        }
        return Tensor.From<float>(values, sizes);
    }

    private static Tensor Classes(int step, int count) => Tensor.From<long>([.. Enumerable.Range(0, 16).Select(i => (long)(i * 7 + step) % count)], 16);

    private static Tensor Numbers(int step) => Tensor.From<float>([.. Enumerable.Range(0, 16).Select(i => (float)Math.Sin(i + step))], 16);
}
