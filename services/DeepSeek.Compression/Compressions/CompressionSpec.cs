using System.Text.Json;
using System.Text.Json.Serialization;
using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Quantization;

namespace DeepSeek.Compression.Compressions;

public enum CompressionMethod
{
    /// <summary>8-bit weights and activations with ranges fixed by calibration.</summary>
    Int8Static = 0,
}

/// <summary>What to compress, how, and how much accuracy it may cost.</summary>
public sealed record CompressionSpec
{
    public required string ModelName { get; init; }

    /// <summary>Version number or alias.</summary>
    [JsonConverter(typeof(ReferenceConverter))]
    public required string Version { get; init; }

    public CompressionMethod Method { get; init; } = CompressionMethod.Int8Static;

    public CalibrationSpec? Calibration { get; init; }

    /// <summary>One weight scale per output channel. Default true.</summary>
    public bool? PerChannel { get; init; }

    /// <summary>Keep each channel's mean output. Default true.</summary>
    public bool? BiasCorrection { get; init; }

    /// <summary>7-bit weights for CPUs without VNNI. Default: when the worker's CPU lacks it.</summary>
    public bool? ReduceRange { get; init; }

    /// <summary>Default uint8.</summary>
    public ActivationType? Activations { get; init; }

    /// <summary>Leave the first layer in float. Default false.</summary>
    public bool? KeepFirst { get; init; }

    /// <summary>Leave the last layer in float. Default false.</summary>
    public bool? KeepLast { get; init; }

    public BudgetSpec? Budget { get; init; }

    /// <summary>0 to 100; higher runs first. Default 50.</summary>
    public int? Priority { get; init; }

    internal QuantizationOptions ToOptions() => new()
    {
        Calibration = Calibration?.Method ?? CalibrationMethod.MinMax,
        PerChannel = PerChannel ?? true,
        BiasCorrection = BiasCorrection ?? true,
        ReduceRange = ReduceRange,
        Activations = Activations ?? ActivationType.UInt8,
        KeepFirst = KeepFirst ?? false,
        KeepLast = KeepLast ?? false,
    };
}

/// <summary>Rows that fix the ranges: drawn from a split other than test.</summary>
public sealed record CalibrationSpec
{
    public const int MaxSamples = 512;

    /// <summary>Default minMax.</summary>
    public CalibrationMethod? Method { get; init; }

    /// <summary>1 to 512. Default 512, or all rows of a smaller split.</summary>
    public int? Samples { get; init; }

    /// <summary>Default train.</summary>
    public string? Split { get; init; }
}

/// <summary>The candidate is refused when it loses more than this.</summary>
public sealed record BudgetSpec
{
    /// <summary>accuracy for classification (the default there), r2 for regression, perplexity for text (likewise).</summary>
    public string? Metric { get; init; }

    /// <summary>Largest loss in the metric's own units, of perplexity the share by which it may rise, 0 to 1. Default 0.005.</summary>
    public double? MaxDrop { get; init; }
}

/// <summary>A version may be written as a number or as text.</summary>
internal sealed class ReferenceConverter : JsonConverter<string>
{
    public override string Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString()!,
        JsonTokenType.Number when reader.TryGetInt32(out var version) => version.ToString(System.Globalization.CultureInfo.InvariantCulture),
        _ => throw new JsonException("must be a version number or an alias"),
    };

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}
