using DeepSeek.Engine.Data;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Optim;

/// <summary>The adaptive optimiser deciding between steps: what a captured step then reads, and when losses are.</summary>
public sealed class AdaptiveCaptureTests
{
    private const int Steps = 168;
    // Dropout stays as it is: its draws are the generator's, whose state these tests do not set back.
    private static readonly AdaptiveOptions s_options = new() { InitialLearningRate = 0.02, WeightDecay = 0.02, Window = 8, Warmup = 8, AdjustDropout = false };

    // The losses fall, come to rest, and once leave every bound; held-out losses rise in between.
    private static double Pretended(int step) => step == 150 ? 1e9 : step < 48 ? 100 - 0.2 * step : 90.4 + new SeededRandom(4, step).Below(1000) / 1e3;

    [Theory]
    [InlineData("cpu")]
    [InlineData("cuda:0")]
    public void Run_CapturedWhileRatesChange_GivesTheEagerBits(string place)
    {
        var device = place == "cpu" ? Device.Cpu : Gpu.Require();
        var eager = Train(device, captured: false);
        var captured = Train(device, captured: true);

        Assert.Equal(eager.Log, captured.Log);
        Assert.Contains(eager.Log, e => e.Cause == AdjustmentCause.Falling);
        Assert.Contains(eager.Log, e => e.Cause == AdjustmentCause.Plateau);
        Assert.Contains(eager.Log, e => e.Cause == AdjustmentCause.Divergence && e.Step == 152); // seen when eight were read
        Assert.Contains(eager.Log, e => e.What == Adjusted.WeightDecay);
        Assert.Equal(eager.Rate, captured.Rate);
        Assert.All(eager.State.Zip(captured.State), pair => Assert.Equal(pair.First, pair.Second));
    }

    [Fact]
    public void Advance_InFrontOfEveryStep_StepsAsWithoutUntilSomethingIsDecided()
    {
        // Seven steps: no loss has been read, no window ended, and the rate warms up by the same rule.
        using var between = new Net(Device.Cpu);
        using var inside = new Net(Device.Cpu);
        for (var step = 0; step < 7; step++)
        {
            using var scope = TensorScope.Open();
            between.Optimizer.Advance();
            between.Optimizer.Observe(between.Step(between.Batch(step)));
            inside.Optimizer.Observe(1);
            inside.Step(inside.Batch(step));
        }

        Assert.All(between.State().Zip(inside.State()), pair => Assert.Equal(pair.First, pair.Second));
    }

    [Fact]
    public void ContinueAfter_LossesNotYetRead_GoesOnWithTheSameBits()
    {
        using var whole = new Net(Device.Cpu);
        using var half = new Net(Device.Cpu);
        Run(whole, 0, 77, null);
        foreach (var (from, to) in whole.Tensors().Zip(half.Tensors()))
        {
            from.Bytes().CopyTo(to.Bytes());
        }
        half.Optimizer.ContinueAfter(77);

        Run(whole, 77, Steps, null);
        Run(half, 77, Steps, null);

        Assert.All(whole.State().Zip(half.State()), pair => Assert.Equal(pair.First, pair.Second));
        Assert.Equal(whole.Optimizer.Log, half.Optimizer.Log);
        Assert.NotEmpty(half.Optimizer.Log);
    }

    [Fact]
    public void Run_NotAdvanced_SaysWhatIsMissing()
    {
        using var net = new Net(Device.Cpu);
        using var capture = new Capture(Device.Cpu, inputs => net.Step(inputs[0]), warmup: 0);
        using var scope = TensorScope.Open();

        Assert.Contains("Advance()", Assert.Throws<CaptureException>(() => capture.Run(net.Batch(0)).IsNone).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_AdvancedInside_SaysWhereToCallIt()
    {
        using var net = new Net(Device.Cpu);
        using var capture = new Capture(Device.Cpu, inputs =>
        {
            net.Optimizer.Advance();
            return net.Step(inputs[0]);
        }, warmup: 0);
        using var scope = TensorScope.Open();

        Assert.Contains("in front of Run()", Assert.Throws<CaptureException>(() => capture.Run(net.Batch(0)).IsNone).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ObserveValidation_ThatChangesDropout_OutdatesRecordings()
    {
        using var net = new Net(Device.Cpu, dropout: 0.1);
        Run(net, 0, 40, null);
        var before = net.Optimizer.Version;

        Array.ForEach([20.0, 18, 19, 20], net.Optimizer.ObserveValidation);

        // Two losses below the training loss lower it, and the second that is above the best raises it.
        Assert.Equal(before + 3, net.Optimizer.Version);
    }

    private static (IReadOnlyList<Adjustment> Log, double Rate, List<double[]> State) Train(Device device, bool captured)
    {
        using var net = new Net(device);
        using var capture = captured ? new Capture(device, inputs => net.Step(inputs[0])) : null;
        Run(net, 0, Steps, capture);
        Assert.True(!captured || !device.IsCuda || capture!.Mode == CaptureMode.Replay);
        return (net.Optimizer.Log, net.Optimizer.Rate, net.State());
    }

    private static void Run(Net net, int from, int to, Capture? capture)
    {
        for (var step = from; step < to; step++)
        {
            using var scope = TensorScope.Open();
            if (step == 64)
            {
                Array.ForEach([20.0, 18, 19, 20], net.Optimizer.ObserveValidation);
            }
            var batch = net.Batch(step);
            net.Optimizer.Advance();
            _ = capture is null ? net.Step(batch) : capture.Run(batch);
            net.Optimizer.Observe(Tensor.From<double>([Pretended(step)], 1).To(net.Device));
        }
    }

    private sealed class Net : IDisposable
    {
        private readonly Sequential _net;

        internal Net(Device device, double? dropout = null)
        {
            EngineRuntime.Seed(3);
            Device = device;
            _net = new Sequential(new Linear(12, 40), new Activation(ActivationKind.Gelu), new Dropout(dropout ?? 0), new Linear(40, 3));
            _net.To(device);
            Optimizer = new AdaptiveOptimizer(_net, s_options with { AdjustDropout = dropout is not null });
        }

        internal Device Device { get; }

        internal AdaptiveOptimizer Optimizer { get; }

        internal Tensor Batch(int step)
        {
            var random = new SeededRandom(9, step);
            return Tensor.From<float>([.. Enumerable.Range(0, 32 * 12).Select(_ => random.Below(2001) / 1000f - 1)], 32, 12).To(Device);
        }

        internal Tensor Step(Tensor x)
        {
            var loss = (_net.Forward(x) - x.Narrow(1, 0, 3) * 2).Pow(2).Mean();
            loss.Backward();
            Optimizer.Step();
            Optimizer.ClearGradients();
            return loss;
        }

        // But for the numbers on the host, which hold counts of what was observed.
        internal List<double[]> State()
        {
            using var scope = TensorScope.Open();
            return [.. _net.Parameters().Concat(Optimizer.State).Where(s => s.Name is not ("adaptive" or "losses")).Select(s => s.Tensor.Tensor.To(Dtype.Float64).To(Device.Cpu).ToArray<double>())];
        }

        internal IEnumerable<TensorHandle> Tensors() => _net.Parameters().Concat(Optimizer.State).Select(s => s.Tensor);

        public void Dispose()
        {
            Optimizer.Dispose();
            _net.Dispose();
        }
    }
}
