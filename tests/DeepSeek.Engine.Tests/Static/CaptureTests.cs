using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Static;

public sealed class CaptureTests
{
    private const int Steps = 12;

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Run_TrainingStep_GivesTheEagerStepsLosses(string place)
    {
        var device = Device.Parse(place);
        var eager = Train(device, captured: false);
        var captured = Train(device, captured: true);
        // The same kernels in the same order; only the addresses differ.
        Assert.All(eager.Zip(captured), pair => Assert.Equal(pair.First, pair.Second, 1e-6));
        Assert.True(eager[^1] < 0.8 * eager[0]);
    }

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Run_AnotherShape_NamesTheInput(string place)
    {
        using var scope = TensorScope.Open();
        using var capture = new Capture(Device.Parse(place), inputs => inputs[0] * 2);
        Assert.Equal(4, capture.Run(Tensor.Scalar(2)).Item());
        var fault = Assert.Throws<ArgumentException>(() => capture.Run(Tensor.From<float>([1, 2], 2)).IsNone);
        Assert.Contains("Input 0 is Float32 [2]; the step was made static for Float32 []", fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Run_StepThatReadsAValue_SaysWhyItCannotBeCaptured(string place)
    {
        using var scope = TensorScope.Open();
        using var capture = new Capture(Device.Parse(place), inputs => inputs[0] * inputs[0].Item(), warmup: 1);
        Assert.Equal(9, capture.Run(Tensor.Scalar(3)).Item());
        var fault = Assert.Throws<CaptureException>(() => capture.Run(Tensor.Scalar(3)).IsNone);
        Assert.Contains("Item()", fault.Message, StringComparison.Ordinal);
        // The device is usable afterwards.
        Assert.Equal(8, (Tensor.Scalar(4).To(Device.Parse(place)) * 2).Item());
    }

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Run_StepThatSetsTheRate_SaysThatItWouldBeFrozen(string place)
    {
        var device = Device.Parse(place);
        using var net = new Linear(2, 1);
        net.To(device);
        using var optimizer = new Sgd(net);
        using var scope = TensorScope.Open();
        using var capture = new Capture(device, inputs =>
        {
            var loss = net.Forward(inputs[0]).Pow(2).Mean();
            loss.Backward();
            optimizer.Step(0.1);
            optimizer.ClearGradients();
            return loss;
        }, warmup: 1);
        _ = capture.Run(Tensor.From<float>([1, 2], 1, 2));
        var fault = Assert.Throws<CaptureException>(() => capture.Run(Tensor.From<float>([1, 2], 1, 2)).IsNone);
        Assert.Contains("learning rate", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_OnGpu_ReplaysWithoutAllocatingAnything()
    {
        var device = Gpu.Require();
        using var scope = TensorScope.Open();
        using var capture = new Capture(device, inputs => (inputs[0] * 2).Relu(), warmup: 1);
        var x = Tensor.From<float>([1, -2, 3], 3).To(device);
        _ = capture.Run(x);
        _ = capture.Run(x);
        Assert.Equal(CaptureMode.Replay, capture.Mode);
        _ = capture.Run(x);
        var native = CudaDevice.Memory().DeviceAllocations;
        var managed = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 50; i++)
        {
            _ = capture.Run(x);
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - managed);
        Assert.Equal(native, CudaDevice.Memory().DeviceAllocations);
        Assert.Equal([2f, 0, 6], capture.Run(x).ToArray<float>());
    }

    [Fact]
    public void EagerSteps_OnGpu_AskTheDeviceForNothingAfterTheSecond()
    {
        var device = Gpu.Require();
        EngineRuntime.Seed(5);
        using var net = new Sequential(new Linear(64, 512), new LayerNorm(512), new Activation(ActivationKind.Gelu), new Dropout(0.1), new Linear(512, 8));
        net.To(device);
        using var optimizer = new AdamW(net);
        var asked = new List<long>();
        for (var step = 0; step < 10; step++)
        {
            using var scope = TensorScope.Open();
            var loss = net.Forward(Tensor.From<float>([.. Enumerable.Range(0, 256 * 64).Select(i => MathF.Sin(i + step))], 256, 64).To(device)).Pow(2).Mean();
            loss.Backward();
            optimizer.Step(1e-3);
            optimizer.ClearGradients();
            asked.Add(CudaDevice.Memory().DeviceAllocations);
        }
        Assert.All(asked.Skip(2), count => Assert.Equal(asked[1], count));
    }

    [Fact]
    public void Run_OnGpuWithFloat16AndAnOverflow_SkipsThatStepInReplay()
    {
        var device = Gpu.Require();
        EngineRuntime.Seed(5);
        using var net = Net(device);
        using var optimizer = new AdamW(net);
        using var scaler = new LossScaler(device, initial: 256);
        optimizer.LearningRate = 1e-3;
        using var capture = new Capture(device, inputs =>
        {
            Tensor loss;
            using (Autocast.Enter(DeviceType.Cuda, Dtype.Float16))
            {
                loss = Losses.MeanSquaredError(net.Forward(inputs[0]), inputs[1]);
            }
            scaler.Scale(loss).Backward();
            scaler.Unscale(optimizer);
            scaler.Step(optimizer);
            optimizer.ClearGradients();
            return loss;
        }, warmup: 2);
        using var scope = TensorScope.Open();
        for (var step = 0; step < 8; step++)
        {
            var x = Tensor.From<float>([.. Enumerable.Repeat(step == 5 ? float.PositiveInfinity : 0.5f, 8)], 2, 4);
            _ = capture.Run(x, Tensor.From<float>([1, 2], 2, 1));
            Assert.Equal(step == 5, scaler.Skipped);
        }
        Assert.Equal(7, optimizer.Steps);
        Assert.Equal(128, scaler.Value);
    }

    private static double[] Train(Device device, bool captured)
    {
        EngineRuntime.Seed(11);
        using var net = Net(device);
        using var optimizer = new AdamW(net);
        Tensor Step(ReadOnlySpan<Tensor> inputs)
        {
            var loss = Losses.MeanSquaredError(net.Forward(inputs[0]), inputs[1]);
            loss.Backward();
            optimizer.LimitGradients(1);
            optimizer.Step();
            optimizer.ClearGradients();
            return loss;
        }
        using var capture = new Capture(device, Step);
        var losses = new double[Steps];
        for (var step = 0; step < Steps; step++)
        {
            using var scope = TensorScope.Open();
            optimizer.LearningRate = 0.05 / (1 + 0.1 * step); // another rate each step: replays must see it
            var x = Tensor.From<float>([.. Enumerable.Range(0, 32).Select(i => MathF.Sin(i + step % 3))], 8, 4);
            var y = x.Narrow(1, 0, 1) * 2;
            losses[step] = captured ? capture.Run(x, y).Item() : Step([x.To(device), y.To(device)]).Item();
        }
        return losses;
    }

    private static Sequential Net(Device device)
    {
        var net = new Sequential(new Linear(4, 16), new Activation(ActivationKind.Tanh), new Linear(16, 1));
        net.To(device);
        return net;
    }
}
