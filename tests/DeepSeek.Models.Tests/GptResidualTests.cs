using DeepSeek.Engine;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class GptResidualTests
{
    private static readonly GptConfig s_config = new() { Vocabulary = 31, Length = 24, Width = 32, Layers = 8, Heads = 4 };

    [Fact]
    public void Float32Residual_WithFloat32Weights_GivesThePlainLossAndGradients()
    {
        using var plain = Net(s_config);
        using var fused = Net(s_config with { Float32Residual = true });
        using var scope = TensorScope.Open();
        var (expected, actual) = (plain.Loss(Ids(1), Ids(2)), fused.Loss(Ids(1), Ids(2)));
        expected.Backward();
        actual.Backward();

        Assert.Equal(expected.Item(), actual.Item(), 1e-5);
        foreach (var (a, b) in plain.Parameters().Zip(fused.Parameters()))
        {
            // Gradients of up to a few tenths, summed in two orders.
            Assert.All(a.Tensor.Tensor.Grad().ToArray<float>().Zip(b.Tensor.Tensor.Grad().ToArray<float>()), pair => Assert.Equal(pair.First, pair.Second, 1e-5f));
        }
    }

    [Fact]
    public void Float32Residual_WithBFloat16Weights_IsNearerToFloat32()
    {
        using var exact = Net(s_config);
        using var scope = TensorScope.Open();
        var expected = exact.Features(Ids(1)).ToArray<float>();

        Assert.InRange(Error(true) / Error(false), 0, 0.8);

        double Error(bool float32Residual)
        {
            using var net = Net(s_config with { Float32Residual = float32Residual });
            net.ToPrecision(Dtype.BFloat16);
            var y = net.Features(Ids(1));
            Assert.Equal(Dtype.BFloat16, y.Dtype);
            return Math.Sqrt(y.To(Dtype.Float32).ToArray<float>().Zip(expected, (a, b) => (double)(a - b) * (a - b)).Average());
        }
    }

    [Fact]
    public void Float32Residual_WithDropout_DropsWhileTrainingOnly()
    {
        using var net = Net(s_config with { Float32Residual = true, Dropout = 0.5 });
        using var scope = TensorScope.Open();

        Assert.NotEqual(net.Loss(Ids(1), Ids(2)).Item(), net.Loss(Ids(1), Ids(2)).Item());
        net.Train(false);
        Assert.Equal(net.Loss(Ids(1), Ids(2)).Item(), net.Loss(Ids(1), Ids(2)).Item());
    }

    private static Gpt Net(GptConfig config)
    {
        EngineRuntime.Seed(7);
        return new Gpt(config);
    }

    private static Tensor Ids(int seed)
    {
        var random = new Random(seed);
        return Tensor.From<long>([.. Enumerable.Range(0, 48).Select(_ => (long)random.Next(31))], 2, 24);
    }
}
