using DeepSeek.Engine.Tensors;
using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

public sealed class LossMeterTests
{
    [Fact]
    public void Add_LossWhoseValueIsKnown_CountsItWithoutReadingTheTensor()
    {
        using var scope = TensorScope.Open();
        var state = new RunState();
        using var meter = new LossMeter(state, Device.Cpu, forgives: false);

        meter.Add(new StepLoss(default, 2.5), 4); // no tensor that could be read

        Assert.Equal((10, 4), (state.LossSum, state.LossRows));
    }

    [Fact]
    public void Add_KnownAndUnknownLosses_SumToOneMeanAtFlush()
    {
        using var scope = TensorScope.Open();
        var state = new RunState();
        using var meter = new LossMeter(state, Device.Cpu, forgives: true);

        meter.Add(new StepLoss(Scalar(3), null), 2); // as on a device
        meter.Add(new StepLoss(default, 1), 2);
        meter.Add(new StepLoss(Scalar(float.NaN), null), 2);
        meter.Add(new StepLoss(default, double.NaN), 2);
        meter.Flush();
        meter.Flush();

        Assert.Equal((8, 4), (state.LossSum, state.LossRows));
    }

    [Theory]
    [InlineData(true, "at step 1")]
    [InlineData(false, "by step 1")]
    public void Add_LossThatIsNoNumber_IsRefused(bool known, string when)
    {
        using var scope = TensorScope.Open();
        using var meter = new LossMeter(new RunState(), Device.Cpu, forgives: false);

        var fault = Assert.Throws<BadInputException>(() =>
        {
            meter.Add(known ? new StepLoss(default, double.NaN) : new StepLoss(Scalar(float.NaN), null), 2);
            meter.Flush();
        });

        Assert.Contains(when, fault.Message, StringComparison.Ordinal);
    }

    private static Tensor Scalar(float value) => Tensor.From<float>([value], 1);
}
