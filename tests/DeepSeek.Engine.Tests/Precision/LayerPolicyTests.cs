using DeepSeek.Engine.Precision;
using DeepSeek.Testing;
using FsCheck.Fluent;

namespace DeepSeek.Engine.Tests.Precision;

/// <summary>A layer's decisions, for any course of its ranges.</summary>
public sealed class LayerPolicyTests
{
    private static readonly PrecisionOptions s_options = new() { Patience = 2 };
    private static readonly RangeLook s_good = default;
    private static readonly RangeLook s_between = Underflowing(0.02);
    private static readonly RangeLook s_bad = Underflowing(0.2);

    [Fact]
    public void Decide_AnyCourse_MovesAtMostLogarithmicallyOften() =>
        Prop.ForAll(Gen.Choose(0, 3).ListOf().ToArbitrary(), kinds =>
        {
            var policy = new LayerPolicy(s_options, LayerPrecision.Half);
            var moves = kinds.Count(k => policy.Decide(Kind(k), LayerPrecision.Float8) is not null);
            // A return doubles the looks that the next lowering needs, and there are two levels to climb.
            return moves <= 2 * Math.Log2(kinds.Count + 2) + 4;
        }).Holds(500);

    [Fact]
    public void Decide_AnyCourse_LowersOnlyAfterEnoughGoodLooks() =>
        Prop.ForAll(Gen.Choose(0, 3).ListOf().ToArbitrary(), kinds =>
        {
            var policy = new LayerPolicy(s_options, LayerPrecision.Half);
            var (good, needed) = (0, s_options.Patience);
            foreach (var kind in kinds)
            {
                var before = policy.Precision;
                // What underflows in FP8 may still fit half precision.
                good = kind == 0 || (kind != 3 && before == LayerPrecision.Float32) ? good + 1 : 0;
                var moved = policy.Decide(Kind(kind), LayerPrecision.Float8) is not null;
                if (moved && policy.Precision < before && good < needed)
                {
                    return false;
                }
                needed = moved && policy.Precision > before ? 2 * needed : needed;
                good = moved ? 0 : good;
            }
            return true;
        }).Holds(500);

    [Fact]
    public void Decide_AlternatingRanges_ComesToRest()
    {
        var policy = new LayerPolicy(s_options, LayerPrecision.Half);

        var moves = Enumerable.Range(0, 100_000).Count(i => policy.Decide(i / 8 % 2 == 0 ? s_good : s_bad, LayerPrecision.Float8) is not null);

        Assert.InRange(moves, 2, 8); // 8 good looks in a row serve a patience of 2, 4 and 8, and no more
    }

    [Fact]
    public void Decide_BetweenTheThresholds_KeepsWhatIs()
    {
        var (lower, upper) = (new LayerPolicy(s_options, LayerPrecision.Float8), new LayerPolicy(s_options, LayerPrecision.Half));

        for (var i = 0; i < 100; i++)
        {
            Assert.Null(lower.Decide(s_between, LayerPrecision.Float8));
            Assert.Null(upper.Decide(s_between, LayerPrecision.Float8));
        }
    }

    [Fact]
    public void Decide_LowestIsHalf_NeverTakesFloat8()
    {
        var policy = new LayerPolicy(s_options, LayerPrecision.Float32);

        for (var i = 0; i < 100; i++)
        {
            policy.Decide(s_good, LayerPrecision.Half);
        }

        Assert.Equal(LayerPrecision.Half, policy.Precision);
    }

    private static RangeLook Kind(int kind) => kind switch
    {
        0 => s_good,
        1 => s_between,
        2 => s_bad,
        _ => s_good with { NotFinite = 1, Broken = RangeOf.Gradient },
    };

    private static RangeLook Underflowing(double share) => new(new RangeFit(share, RangeOf.Input, 0, RangeOf.Nothing), default, 0, RangeOf.Nothing);
}
