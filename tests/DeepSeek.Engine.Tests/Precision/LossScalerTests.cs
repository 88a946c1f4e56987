using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Precision;

public sealed class LossScalerTests
{
    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Step_InfiniteGradientAtOneStep_SkipsExactlyThatStep(string place)
    {
        const int steps = 6, bad = 3;
        var device = Device.Parse(place);
        using var net = Net(device);
        using var optimizer = new AdamW(net);
        using var scaler = new LossScaler(device, initial: 1024, interval: 100);
        var before = Weights(net);
        for (var step = 0; step < steps; step++)
        {
            using var scope = TensorScope.Open();
            scaler.Scale(Loss(net, device, step == bad ? double.PositiveInfinity : 1)).Backward();
            scaler.Unscale(optimizer);
            optimizer.LearningRate = 1e-2;
            scaler.Step(optimizer);
            optimizer.ClearGradients();
            var after = Weights(net);
            Assert.Equal(step == bad, scaler.Skipped);
            Assert.Equal(step == bad, before.AsSpan().SequenceEqual(after));
            before = after;
        }
        Assert.Equal(steps - 1, optimizer.Steps);
        Assert.Equal(512, scaler.Value); // halved once
    }

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Step_WithoutOverflow_GivesTheUnscaledStepAndDoublesAfterTheInterval(string place)
    {
        var device = Device.Parse(place);
        using var plain = Net(device);
        using var scaled = Net(device);
        using var first = new AdamW(plain);
        using var second = new AdamW(scaled);
        using var scaler = new LossScaler(device, initial: 1024, interval: 4);
        for (var step = 0; step < 4; step++)
        {
            using var scope = TensorScope.Open();
            Loss(plain, device, 1).Backward();
            first.Step(1e-2);
            first.ClearGradients();
            scaler.Scale(Loss(scaled, device, 1)).Backward();
            scaler.Unscale(second);
            second.LearningRate = 1e-2;
            scaler.Step(second);
            second.ClearGradients();
        }
        // A power of two as scale changes no mantissa; sums over it are the same to the last bits.
        Assert.All(Weights(plain).Zip(Weights(scaled)), pair => Assert.Equal(pair.First, pair.Second, 1e-6f));
        Assert.Equal(2048, scaler.Value);
    }

    private static Sequential Net(Device device)
    {
        EngineRuntime.Seed(3);
        var net = new Sequential(new Linear(8, 16), new Activation(ActivationKind.Tanh), new Linear(16, 4));
        net.To(device);
        return net;
    }

    private static Tensor Loss(Module net, Device device, double factor)
    {
        var x = Tensor.From<float>([.. Enumerable.Range(0, 16).Select(i => MathF.Sin(i))], 2, 8).To(device);
        return (net.Forward(x).Pow(2) * factor).Mean();
    }

    private static float[] Weights(Module net)
    {
        using var scope = TensorScope.Open();
        return [.. net.Parameters().SelectMany(p => p.Tensor.Tensor.ToArray<float>())];
    }
}
