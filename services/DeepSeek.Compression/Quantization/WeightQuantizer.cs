using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;

namespace DeepSeek.Compression.Quantization;

/// <summary>Weights in 8 bits: value ≈ Scales[channel] · Values (one scale for all when per tensor).</summary>
public sealed record QuantizedWeight(sbyte[] Values, float[] Scales);

/// <summary>Symmetric quantisation of weights.</summary>
public static class WeightQuantizer
{
    private const float SmallestNormal = 1.17549435e-38f;

    /// <param name="weights">Row-major weights.</param>
    /// <param name="channels">Output channels.</param>
    /// <param name="stride">Element i belongs to channel i / stride mod channels.</param>
    /// <param name="perChannel">One scale per channel.</param>
    /// <param name="largest">Largest stored magnitude.</param>
    /// <param name="leastScale">Lower bound of each channel's scale; 0 for none.</param>
    public static QuantizedWeight Quantize(ReadOnlySpan<float> weights, int channels, int stride, bool perChannel, int largest, Func<int, float>? leastScale = null)
    {
        var scales = new float[perChannel ? channels : 1];
        for (var i = 0; i < weights.Length; i++)
        {
            var channel = perChannel ? i / stride % channels : 0;
            scales[channel] = Math.Max(scales[channel], Math.Abs(weights[i]));
        }
        for (var c = 0; c < scales.Length; c++)
        {
            var least = leastScale?.Invoke(c) ?? 0;
            scales[c] = Math.Max(scales[c] / largest, least);
            // A channel of zeros stays zeros under any scale.
            if (scales[c] < SmallestNormal)
                scales[c] = 1;
        }
        var values = new sbyte[weights.Length];
        for (var i = 0; i < weights.Length; i++)
            values[i] = (sbyte)Math.Clamp(MathF.Round(weights[i] / scales[perChannel ? i / stride % channels : 0]), -largest, largest);
        return new QuantizedWeight(values, scales);
    }

    /// <summary>
    /// Quantises a layer. Where a bias is large beside its channel's weights, the channel's scale grows so that the bias,
    /// stored in 32 bits at scale input · weight, stays below half of what they hold.
    /// </summary>
    public static QuantizedWeight Quantize(WeightedLayer layer, float inputScale, QuantizationOptions options, bool reduceRange)
    {
        var weights = layer.Weight.Floats();
        if (Array.FindIndex(weights, w => !float.IsFinite(w)) is >= 0 and var bad)
            throw new UnsupportedModelException($"Weight '{layer.Weight.Name}' holds {weights[bad]} at element {bad}; a model with NaN or infinite weights cannot be quantised. Train it again.");
        var bias = layer.Bias?.Floats();
        float Least(int c) => bias is null ? 0 : (options.PerChannel ? Math.Abs(bias[c]) : bias.Max(Math.Abs)) / (inputScale * (1 << 30));
        return Quantize(weights, layer.Channels, layer.Stride, options.PerChannel, reduceRange ? QuantMath.Weight7 : QuantMath.Weight8, Least);
    }
}
