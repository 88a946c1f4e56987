using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Measurement;

namespace DeepSeek.Compression.Compressions;

/// <summary>What compression did to a model, in numbers.</summary>
public sealed record CompressionReport
{
    public required CompressionMethod Method { get; init; }
    public required CalibrationReport Calibration { get; init; }

    /// <summary>Layers whose weights are 8 bits now.</summary>
    public required IReadOnlyList<string> Layers { get; init; }

    /// <summary>Layers that kept float weights.</summary>
    public required IReadOnlyList<string> FloatLayers { get; init; }

    /// <summary>Whether weights use 7 bits for CPUs without VNNI.</summary>
    public required bool ReduceRange { get; init; }

    /// <summary>Size of model.onnx.</summary>
    public required ByteReport Bytes { get; init; }

    /// <summary>Metric on the test split.</summary>
    public required AccuracyReport Accuracy { get; init; }

    /// <summary>Share of test rows on which both models decide alike; for regression the R² of the compressed model's predictions against the original's.</summary>
    public required double Agreement { get; init; }

    /// <summary>One row per run.</summary>
    public required LatencyReport LatencyMs { get; init; }

    /// <summary>Threads of ONNX Runtime while timing.</summary>
    public required int Threads { get; init; }

    public required BudgetReport Budget { get; init; }
}

/// <param name="Method">How ranges were chosen.</param>
/// <param name="Split">Where the rows come from.</param>
/// <param name="Samples">Rows used.</param>
/// <param name="SharedWithTest">Candidates left out because the same row is in the test split.</param>
public sealed record CalibrationReport(CalibrationMethod Method, string Split, int Samples, int SharedWithTest);

public sealed record ByteReport(long Fp32, long Int8)
{
    public double Ratio => (double)Fp32 / Int8;
}

/// <param name="Metric">accuracy, r2 or perplexity.</param>
/// <param name="Fp32">Of the original.</param>
/// <param name="Int8">Of the candidate.</param>
/// <param name="Rows">Rows measured; of text its tokens.</param>
public sealed record AccuracyReport(string Metric, double Fp32, double Int8, int Rows)
{
    /// <summary>What is lost, in the metric's own units; of perplexity the share by which it rises.</summary>
    public double Drop => Metric == CompressionRules.Perplexity ? (Int8 / Fp32) - 1 : Fp32 - Int8;
}

public sealed record BudgetReport(string Metric, double MaxDrop, bool Met);
