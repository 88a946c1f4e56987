using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class ForwardTests
{
    [Fact]
    public void Gpt_LaterToken_DoesNotChangeEarlierLogits()
    {
        using var net = new Gpt(new GptConfig { Vocabulary = 11, Length = 8, Width = 12, Layers = 2, Heads = 3 });
        using var scope = TensorScope.Open();

        var first = net.Forward(Tensor.From<long>([1, 2, 3, 4], 1, 4));
        var second = net.Forward(Tensor.From<long>([1, 2, 3, 9], 1, 4));

        Assert.Equal([1, 4, 11], first.Shape());
        Assert.Equal(first.Narrow(1, 0, 3).ToArray<float>(), second.Narrow(1, 0, 3).ToArray<float>());
        Assert.NotEqual(first.Narrow(1, 3, 1).ToArray<float>(), second.Narrow(1, 3, 1).ToArray<float>());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ResNet_Backward_ReachesEveryParameter(bool bottleneck)
    {
        using var net = new ResNet(new ResNetConfig { Blocks = [1, 1, 1, 1], Bottleneck = bottleneck, Width = 4, Outputs = 5 });
        using var scope = TensorScope.Open();

        var logits = net.Forward(Tensor.From<float>(new float[2 * 3 * 64 * 64], 2, 3, 64, 64));
        Losses.CrossEntropy(logits, Tensor.From<long>([1, 4], 2)).Backward();

        Assert.Equal([2, 5], logits.Shape());
        Assert.All(net.Parameters(), p => Assert.False(p.Tensor.Tensor.Grad().IsNone, p.Name));
    }
}
