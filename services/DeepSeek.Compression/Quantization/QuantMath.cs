using DeepSeek.Compression.Calibration;

namespace DeepSeek.Compression.Quantization;

/// <summary>real = scale · (stored − zero point).</summary>
public readonly record struct QuantParams(float Scale, int ZeroPoint);

/// <summary>Affine quantisation: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", arXiv 1712.05877, eq. 1.</summary>
public static class QuantMath
{
    /// <summary>Largest weight magnitude in 8 bits; −128 is not used, so that weights are symmetric.</summary>
    public const int Weight8 = 127;

    /// <summary>In 7 bits: 255 · 64 · 2 &lt; 2¹⁵, so a sum of two products of an unsigned activation and a weight fits 16 bits.</summary>
    public const int Weight7 = 64;

    /// <summary>Parameters that cover a range; zero is exactly representable.</summary>
    public static QuantParams ForActivation(TensorRange range, ActivationType type)
    {
        var (low, high) = Bounds(type);
        var (min, max) = (Math.Min(range.Min, 0), Math.Max(range.Max, 0));
        if (min == max)
            return new QuantParams(1, type == ActivationType.UInt8 ? low : 0);
        var scale = Math.Max((float)(((double)max - min) / (high - low)), float.Epsilon * 1e6f);
        var zero = (int)Math.Clamp(Math.Round(low - min / scale), low, high);
        return new QuantParams(scale, zero);
    }

    public static (int Low, int High) Bounds(ActivationType type) => type == ActivationType.UInt8 ? (0, 255) : (-128, 127);

    /// <summary>The nearest stored value, halves to even as ONNX's QuantizeLinear.</summary>
    public static int Quantize(float value, QuantParams p, ActivationType type)
    {
        var (low, high) = Bounds(type);
        return (int)Math.Clamp(MathF.Round(value / p.Scale) + p.ZeroPoint, low, high);
    }

    public static float Dequantize(int stored, QuantParams p) => p.Scale * (stored - p.ZeroPoint);
}
