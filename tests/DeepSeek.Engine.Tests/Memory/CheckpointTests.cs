using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Memory;

/// <summary>A computation that is done again gives what it gave: to the bit, since the same operators see the same numbers.</summary>
public sealed class CheckpointTests
{
    private const int Rows = 64;
    private const int Width = 48;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Backward_ResidualBlocksWithDropoutAndBatchNorm_GivesThePlainStepsBits(bool autocast)
    {
        var plain = Step([], autocast);
        var again = Step(["1", "2", "3"], autocast);

        Assert.Equal(plain.Loss, again.Loss);
        Assert.All(plain.Gradients.Zip(again.Gradients), pair => Assert.Equal(pair.First, pair.Second));
        // Running statistics follow each batch once, and the generator ends where it would have.
        Assert.All(plain.Buffers.Zip(again.Buffers), pair => Assert.Equal(pair.First, pair.Second));
        Assert.Equal(plain.Random, again.Random);
    }

    [Fact]
    public void Backward_NestedCheckpoints_GiveThePlainStepsBits()
    {
        var plain = Step([]);
        var nested = Step(["1", "1.body", "1.body.4", "3", "3.body"]);

        Assert.All(plain.Gradients.Zip(nested.Gradients), pair => Assert.Equal(pair.First, pair.Second));
        Assert.Equal(plain.Random, nested.Random);
    }

    [Fact]
    public void Forward_Checkpointed_KeepsInputsAlone()
    {
        var plain = Step([]);
        var again = Step(["1", "2", "3"]);

        // A block keeps batch normalisation's input (its own), two inputs of products four times as wide, the mask's and the products'
        // results; checkpointed it keeps its output of Rows × Width floats alone.
        const long output = Rows * Width * sizeof(float);
        Assert.InRange(plain.Kept - again.Kept, 3 * 4 * output, 3 * 16 * output);
        // The stem's output, three blocks', and the head's few numbers.
        Assert.InRange(again.Kept, 4 * output, 5 * output);
    }

    [Fact]
    public void Backward_NoInputNeedsAGradient_ReachesTheWeightsInside()
    {
        using var net = new Linear(3, 2);
        using var scope = TensorScope.Open();
        var x = Tensor.From<float>([1, 2, 3], 1, 3);

        Checkpoint.Run(net.Forward, x).Sum().Backward();

        Assert.Equal([1, 2, 3, 1, 2, 3], net.Weight.Tensor.Grad().ToArray<float>());
    }

    [Fact]
    public void Run_SeveralInputsAndOutputs_DifferentiatesEach()
    {
        using var a = TensorHandle.From<float>([2], 1).WithGrad();
        using var b = TensorHandle.From<float>([5], 1).WithGrad();
        using var scope = TensorScope.Open();
        Span<Tensor> outputs = [default, default, default];

        Checkpoint.Run((x, y) => (y[0], y[1], y[2]) = (x[0] * x[2], x[0] + x[2], x[0] * 100), [a.Tensor, default, b.Tensor], outputs);
        (outputs[0] * 3 + outputs[1]).Sum().Backward(); // 3ab + a + b, and nothing of the third

        Assert.Equal((16.0, 7.0), (a.Tensor.Grad().Item(), b.Tensor.Grad().Item()));
    }

    [Fact]
    public void Run_WithAFormForTheSecondTime_StartsFromWhatWasKept()
    {
        using var a = TensorHandle.From<float>([2, 3], 2).WithGrad();
        using var b = TensorHandle.From<float>([5, 7], 2).WithGrad();
        using var scope = TensorScope.Open();
        var (first, again) = (0, 0);
        Span<Tensor> made = [default, default, default, default];

        // (a² + 3b), a² beside it, and exp(a) and nothing as what is kept.
        Checkpoint.Run(
            (x, y) =>
            {
                first++;
                (y[0], y[1], y[2]) = (x[0] * x[0] + x[1] * 3, x[0] * x[0], x[0].Exp());
            },
            (x, kept, addends) =>
            {
                again++;
                Assert.Equal([(float)Math.Exp(2), (float)Math.Exp(3)], kept[0].ToArray<float>());
                Assert.True(kept[1].IsNone);
                (addends[0], addends[1]) = (x[0] * x[0], x[1] * 3);
            }, [a.Tensor, b.Tensor], made, results: 1, kept: 2);
        Assert.Equal([19, 30], made[0].ToArray<float>());
        Assert.Equal((true, false, 0), (made[0].RequiresGrad, made[1].RequiresGrad, again));
        (made[0] * Tensor.From<float>([1, 10], 2)).Sum().Backward();

        Assert.Equal([4, 60], a.Tensor.Grad().ToArray<float>());
        Assert.Equal([3, 30], b.Tensor.Grad().ToArray<float>());
        Assert.Equal((1, 1), (first, again));
    }

    [Fact]
    public void Hooks_InsideACheckpoint_SeeGradientsOnceAndValuesTwice()
    {
        using var inner = new Linear(Width, Width);
        using var net = new Sequential(new Linear(Width, Width), new Sequential(inner, new Activation(ActivationKind.Relu)));
        var (values, repeated, gradients) = (0, 0, 0);
        using var value = inner.OnPass(HookPlace.Output, (_, _) =>
        {
            values++;
            repeated += Checkpoint.IsRecomputing ? 1 : 0;
            return default;
        });
        using var gradient = inner.OnPass(HookPlace.OutputGradient, (_, g) =>
        {
            gradients++;
            return g * 0;
        });
        net.Modules().Single(m => m.Name == "1").Module.Recomputes = true;
        using var scope = TensorScope.Open();

        var x = Tensor.Empty(Dtype.Float32, Rows, Width);
        x.FillInPlace(1);
        net.Forward(x).Sum().Backward();

        Assert.Equal((2, 1, 1), (values, repeated, gradients));
        // The hook's word counts: no gradient came through.
        Assert.All(inner.Weight.Tensor.Grad().ToArray<float>(), g => Assert.Equal(0, g));
    }

    [Fact]
    public void Backward_ASecondTime_IsRefused()
    {
        using var x = TensorHandle.From<float>([1], 1).WithGrad();
        using var scope = TensorScope.Open();
        var y = Checkpoint.Run(v => v * 2, x.Tensor);
        y.Backward();

        var fault = Assert.Throws<NativeException>(y.Backward);

        Assert.Contains("second backward pass", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_WithoutRecording_JustRuns()
    {
        using var x = TensorHandle.From<float>([3], 1).WithGrad();
        using var scope = TensorScope.Open();
        using var recording = NoGrad.Enter();

        var y = Checkpoint.Run(v => v * 2, x.Tensor);

        Assert.Equal((6, false), (y.Item(), y.RequiresGrad));
    }

    [Fact]
    public void Capture_OfDropoutInsideACheckpoint_SaysWhyNot()
    {
        using var net = new Sequential(new Linear(4, 4), new Dropout(0.5)) { Recomputes = true };
        using var scope = TensorScope.Open();
        using var capture = new Capture(Device.Cpu, inputs => net.Forward(inputs[0]).Sum(), warmup: 1);
        Assert.False(capture.Run(Tensor.Empty(Dtype.Float32, 2, 4)).IsNone);

        var fault = Assert.Throws<CaptureException>(() => capture.Run(Tensor.Empty(Dtype.Float32, 2, 4)).IsNone);

        Assert.Contains("Dropout inside a checkpoint", fault.Message, StringComparison.Ordinal);
    }

    /// <summary>One step of a residual perceptron, and the bytes that lay between its passes.</summary>
    private static (double Loss, List<float[]> Gradients, List<float[]> Buffers, byte[] Random, long Kept) Step(string[] recomputed, bool autocast = false)
    {
        EngineRuntime.Seed(3);
        using var net = new Sequential(new Linear(8, Width), Block(), Block(), Block(), new Linear(Width, 1));
        foreach (var (name, module) in net.Modules())
        {
            module.Recomputes = recomputed.Contains(name);
        }
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, Rows, 8);
        x.NormalInPlace(0, 1);
        var before = AllocatorMemory.Of(Device.Cpu).Current;
        var loss = Loss();
        var kept = AllocatorMemory.Of(Device.Cpu).Current - before;
        loss.Backward();
        return (loss.Item(), [.. net.Parameters().Select(p => p.Tensor.Tensor.Grad().ToArray<float>())],
            [.. net.Buffers().Select(b => b.Tensor.Tensor.ToArray<float>())], EngineRuntime.RandomState(), kept);

        Tensor Loss()
        {
            using var inner = TensorScope.Open();
            if (!autocast)
            {
                return inner.Return(net.Forward(x).Pow(2).Mean());
            }
            using var half = Autocast.Enter(DeviceType.Cpu, Dtype.BFloat16);
            return inner.Return(net.Forward(x).To(Dtype.Float32).Pow(2).Mean());
        }
    }

    private static Residual Block() => new(new Sequential(
        new BatchNorm(Width), new Linear(Width, 4 * Width), new Activation(ActivationKind.Gelu), new Dropout(0.3), new Linear(4 * Width, Width)));
}
