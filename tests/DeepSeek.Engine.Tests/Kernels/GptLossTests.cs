using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class GptLossTests
{
    [Fact]
    public void Loss_SmallNet_IsTheCrossEntropyOfItsLogitsWithTheSameGradients()
    {
        EngineRuntime.Seed(2);
        using var net = new Gpt(new GptConfig { Vocabulary = 29, Length = 6, Width = 8, Layers = 2, Heads = 2 });
        using var scope = TensorScope.Open();
        var ids = Tensor.From<long>([.. Enumerable.Range(0, 12).Select(i => i * 5L % 29)], 2, 6);
        var targets = Tensor.From<long>([.. Enumerable.Range(0, 12).Select(i => i * 11L % 29)], 2, 6);
        var plain = Losses.CrossEntropy(net.Forward(ids).Reshape(-1, 29), targets.Reshape(-1));
        plain.Backward();
        float[][] expected = [.. net.Parameters().Select(p => p.Tensor.Tensor.Grad().ToArray<float>())];
        foreach (var (_, tensor) in net.Parameters())
        {
            tensor.Tensor.Grad().FillInPlace(0);
        }
        var loss = net.Loss(ids, targets);
        loss.Backward();
        Assert.Equal(plain.Item(), loss.Item(), 1e-5);
        foreach (var ((name, tensor), wanted) in net.Parameters().Zip(expected))
        {
            // Float32 sums in another order.
            Assert.All(tensor.Tensor.Grad().ToArray<float>().Zip(wanted), pair => Assert.True(Math.Abs(pair.First - pair.Second) < 1e-5, name));
        }
    }
}
