using System.Text.Json.Serialization;
using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Reports;

/// <summary>The finished explanation, as served in JSON and drawn in the HTML page.</summary>
public sealed record ExplanationReport
{
    /// <summary>Explanation id.</summary>
    public required Guid Id { get; init; }

    /// <summary>Registered model's name.</summary>
    public required string ModelName { get; init; }

    /// <summary>Registered model's version.</summary>
    public required int ModelVersion { get; init; }

    /// <summary>Hash of the dataset manifest the background and the rows come from.</summary>
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>SHA-256 of the model file that was explained.</summary>
    public required string ModelSha256 { get; init; }

    /// <summary><c>exact</c>, <c>permutation</c> or <c>occlusion</c>.</summary>
    public required string Method { get; init; }

    /// <summary>Name of the class whose probability is explained, or <c>prediction</c>.</summary>
    public required string Output { get; init; }

    /// <summary>Rows of the background.</summary>
    public required int BackgroundRows { get; init; }

    /// <summary>Seed of every random choice.</summary>
    public required int Seed { get; init; }

    /// <summary>Seconds of computing.</summary>
    public required double ElapsedSeconds { get; init; }

    /// <summary>Feature names, in the order of each row's φ; empty for images.</summary>
    public IReadOnlyList<string> Features { get; init; } = [];

    /// <summary>Mean output over the background, v(∅).</summary>
    public double? Base { get; init; }

    /// <summary>The explained rows.</summary>
    public IReadOnlyList<ExplainedRow> Rows { get; init; } = [];

    /// <summary>Mean |φ| by feature, largest first.</summary>
    public IReadOnlyList<GlobalImportance> Global { get; init; } = [];

    /// <summary>The explained images.</summary>
    public IReadOnlyList<ExplainedImage> Images { get; init; } = [];

    /// <summary>Largest |Σφ + base − f(x)| / max(1, |f(x)|) over the rows; f(x) is computed apart, on the row alone, in the model's single precision.</summary>
    public double? MaxAdditivityError { get; init; }
}

/// <summary>One row's attribution: f(x) = base + Σφ.</summary>
public sealed record ExplainedRow(
    IReadOnlyDictionary<string, object?> Inputs,
    double Fx,
    double[] Phi,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] double[]? StandardErrors,
    double AdditivityError,
    long Evaluations);

/// <summary>One image's heat map: drop of the output per pixel, [height, width] row-major; the pixels as bytes [C, H, W] in base64.</summary>
public sealed record ExplainedImage(int Index, string? Target, string Output, double Score, int Channels, int Height, int Width, byte[] Pixels, double[] Heat);
