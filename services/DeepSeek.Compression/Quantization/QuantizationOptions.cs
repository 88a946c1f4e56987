using DeepSeek.Compression.Calibration;

namespace DeepSeek.Compression.Quantization;

/// <summary>Element type of quantised activations.</summary>
public enum ActivationType
{
    UInt8 = 0,
    Int8 = 1,
}

/// <summary>Choices of INT8 static quantisation.</summary>
public sealed record QuantizationOptions
{
    public CalibrationMethod Calibration { get; init; } = CalibrationMethod.MinMax;

    /// <summary>One weight scale per output channel instead of one per tensor. Default true.</summary>
    public bool PerChannel { get; init; } = true;

    /// <summary>Shift biases so that each channel's mean output stays what it was. Default true.</summary>
    public bool BiasCorrection { get; init; } = true;

    /// <summary>
    /// Weights in 7 bits, so that sums of two products of CPUs without VNNI cannot saturate 16 bits.
    /// Null: when this machine's CPU lacks VNNI.
    /// </summary>
    public bool? ReduceRange { get; init; }

    public ActivationType Activations { get; init; } = ActivationType.UInt8;

    /// <summary>Leaves the first layer with weights in float. Default false.</summary>
    public bool KeepFirst { get; init; }

    /// <summary>Leaves the last layer with weights in float. Default false.</summary>
    public bool KeepLast { get; init; }

    /// <summary>Nodes whose names begin so stay as they are: the feature pipeline.</summary>
    public string FloatPrefix { get; init; } = "pipeline/";
}
