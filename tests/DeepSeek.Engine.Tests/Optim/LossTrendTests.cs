using DeepSeek.Engine.Data;
using DeepSeek.Engine.Optim;
using DeepSeek.Testing;
using FsCheck.Fluent;

namespace DeepSeek.Engine.Tests.Optim;

public sealed class LossTrendTests
{
    [Fact]
    public void InStandardErrors_ExactLine_MatchesTheFormula()
    {
        // Slope −1 a step through windows of equal variance 0.04: standard error √(0.04 / Σ(t−t̄)²) = √(0.04/5).
        LossWindow[] windows = [.. Enumerable.Range(0, 4).Select(i => new LossWindow(i, 10 - i, 0.04))];

        Assert.Equal(-1 / Math.Sqrt(0.04 / 5), LossTrend.InStandardErrors(windows), 1e-9);
    }

    [Fact]
    public void InStandardErrors_MeansScatterMoreThanTheirVariances_WidensTheError()
    {
        LossWindow[] windows = [new(0, 1, 1e-6), new(1, 3, 1e-6), new(2, 0, 1e-6), new(3, 2.5, 1e-6)];

        Assert.InRange(Math.Abs(LossTrend.InStandardErrors(windows)), 0, 1);
    }

    [Fact]
    public void InStandardErrors_TwoWindows_HaveNoTrend() => Assert.Equal(0, LossTrend.InStandardErrors([new(0, 2, 0.1), new(1, 1, 0.1)]));

    [Fact]
    public void InStandardErrors_NoiseOnly_SeldomLooksLikeATrend()
    {
        // Of 2000 draws under no trend, 4.6 % lie beyond two standard errors by chance; the widened error of six windows keeps it below 8 %.
        var random = new SeededRandom(3);
        var beyond = 0;
        for (var trial = 0; trial < 2000; trial++)
        {
            LossWindow[] windows = [.. Enumerable.Range(0, 6).Select(i => new LossWindow(i, 1 + Gauss(ref random), 1))];
            beyond += Math.Abs(LossTrend.InStandardErrors(windows)) > 2 ? 1 : 0;
        }
        Assert.InRange(beyond, 0, 160);
    }

    [Fact]
    public void InStandardErrors_AnyShiftOrMirror_KeepsOrTurnsTheSign() => Prop.ForAll<int, int>((seed, by) =>
    {
        var random = new SeededRandom(seed);
        LossWindow[] windows = [.. Enumerable.Range(0, 5).Select(i => new LossWindow(i, Gauss(ref random), 0.5))];
        var trend = LossTrend.InStandardErrors(windows);
        var shifted = LossTrend.InStandardErrors([.. windows.Select(w => w with { Mean = w.Mean + by % 100 })]);
        var mirrored = LossTrend.InStandardErrors([.. windows.Select(w => w with { Mean = -w.Mean })]);
        return Math.Abs(trend - shifted) < 1e-6 && Math.Abs(trend + mirrored) < 1e-9;
    }).Holds();

    private static double Gauss(ref SeededRandom random) =>
        Math.Sqrt(-2 * Math.Log((random.Below(1_000_000) + 1) / 1_000_001.0)) * Math.Cos(2 * Math.PI * random.Below(1_000_000) / 1_000_000.0);
}
