using DeepSeek.Engine.Optim;

namespace DeepSeek.Engine.Tests.Optim;

public sealed class LearningRateTests
{
    // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10), defaults: pct_start 0.3, div_factor 25, final_div_factor 1e4.
    // Rising over steps 0..2, falling over steps 2..9, both half cosines; written out here from that definition.
    private static readonly double[] s_oneCycle =
    [
        0.04, 0.52, 1.0,
        4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(Math.PI / 7)), 4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(2 * Math.PI / 7)),
        4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(3 * Math.PI / 7)), 4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(4 * Math.PI / 7)),
        4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(5 * Math.PI / 7)), 4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(6 * Math.PI / 7)), 4e-6,
    ];

    [Fact]
    public void OneCycle_TenSteps_FollowsPyTorch()
    {
        for (var step = 0; step < 10; step++)
        {
            Assert.Equal(s_oneCycle[step], LearningRate.OneCycle(1, step, 10, 0), 1e-12);
        }
    }

    [Theory]
    [InlineData(0, 2.0)]
    [InlineData(25, 1.7071067811865475)]
    [InlineData(50, 1.0)]
    [InlineData(75, 0.2928932188134524)]
    [InlineData(100, 0.0)]
    public void Cosine_WithoutWarmup_FallsFromPeakToZero(int step, double expected) => Assert.Equal(expected, LearningRate.Cosine(2, step, 100, 0), 1e-12);

    [Fact]
    public void Warmup_ConstantAndCosine_RisesLinearlyToPeak()
    {
        Assert.Equal([0.2, 0.4, 0.6, 0.8, 1.0, 1.0], Enumerable.Range(0, 6).Select(s => Math.Round(LearningRate.Constant(1, s, 10, 0.5), 12)));
        Assert.Equal([0.5, 1.0, 1.0], Enumerable.Range(0, 3).Select(s => Math.Round(LearningRate.Cosine(1, s, 10, 0.2), 12)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Courses_FewSteps_StayWithinPeak(int total)
    {
        for (var step = 0; step < total; step++)
        {
            Assert.InRange(LearningRate.OneCycle(1, step, total, 0.9), 0, 1);
            Assert.InRange(LearningRate.Cosine(1, step, total, 0.9), 0, 1);
            Assert.InRange(LearningRate.Constant(1, step, total, 0.9), 0, 1);
        }
    }
}
