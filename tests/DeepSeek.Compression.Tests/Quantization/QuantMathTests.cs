using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Quantization;
using DeepSeek.Testing;
using FsCheck.Fluent;

namespace DeepSeek.Compression.Tests.Quantization;

public sealed class QuantMathTests
{
    [Theory]
    [InlineData(ActivationType.UInt8)]
    [InlineData(ActivationType.Int8)]
    public void QuantizeDequantize_ValueInRange_IsOffByHalfAStepAtMost(ActivationType type) =>
        Prop.ForAll(Gen.Choose(-100_000, 100_000).Three().ToArbitrary(), t =>
        {
            var (a, b, x) = (t.Item1 / 1000f, t.Item2 / 1000f, t.Item3 / 1000f);
            var range = new TensorRange(Math.Min(a, b), Math.Max(a, b));
            var p = QuantMath.ForActivation(range, type);
            var value = Math.Clamp(x, Math.Min(range.Min, 0), Math.Max(range.Max, 0));
            var back = QuantMath.Dequantize(QuantMath.Quantize(value, p, type), p);
            // Half a step, and as much again at the ends, where the zero point's own rounding moves the covered range.
            return Math.Abs(back - value) <= p.Scale * 1.0001f && (Math.Abs(value) < 1e-9 || p.Scale > 0);
        }).Holds(2000);

    [Theory]
    [InlineData(-1f, 3f, ActivationType.UInt8, 4f / 255, 64)]
    [InlineData(0f, 5.1f, ActivationType.UInt8, 0.02f, 0)]
    [InlineData(2f, 5.1f, ActivationType.UInt8, 0.02f, 0)] // the range is widened to zero
    [InlineData(-2.55f, 0f, ActivationType.UInt8, 0.01f, 255)]
    [InlineData(-1.28f, 1.27f, ActivationType.Int8, 0.01f, 0)]
    [InlineData(0f, 2.55f, ActivationType.Int8, 0.01f, -128)]
    [InlineData(0f, 0f, ActivationType.UInt8, 1f, 0)]
    public void ForActivation_Range_GivesScaleAndZeroPoint(float min, float max, ActivationType type, float scale, int zero)
    {
        var p = QuantMath.ForActivation(new TensorRange(min, max), type);
        Assert.Equal(scale, p.Scale, 1e-6f);
        Assert.Equal(zero, p.ZeroPoint);
        Assert.Equal(0f, QuantMath.Dequantize(QuantMath.Quantize(0, p, type), p));
    }
}
