using System.Text.Json;
using DeepSeek.Explainability.Shapley;

namespace DeepSeek.Explainability.Explanations;

/// <summary>What to explain, how, and against which background.</summary>
public sealed record ExplanationSpec
{
    /// <summary>A deployment's name: its current model version is explained. Exclusive with <see cref="ModelName"/>.</summary>
    public string? Deployment { get; init; }

    /// <summary>A registered model's name, with <see cref="Version"/>.</summary>
    public string? ModelName { get; init; }

    /// <summary>A version number or an alias such as <c>production</c>.</summary>
    public string? Version { get; init; }

    /// <summary>Raw rows by column name. Columns that the dataset masks are masked before the rows are stored. Without rows, some are drawn from <see cref="Split"/>. Not for images.</summary>
    public IReadOnlyList<IReadOnlyDictionary<string, JsonElement>>? Rows { get; init; }

    /// <summary>Split the rows or images are drawn from: <c>train</c>, <c>validation</c> or <c>test</c> (default).</summary>
    public string Split { get; init; } = "test";

    /// <summary>How many rows are drawn; default 20 (images: 4), 1 to <see cref="ExplanationRules.MaxRows"/> (images: <see cref="ExplanationRules.MaxImages"/>).</summary>
    public int? Count { get; init; }

    /// <summary>Default <see cref="ExplanationMethod.Auto"/>.</summary>
    public ExplanationMethod Method { get; init; }

    /// <summary>Class whose probability is explained; default the second of two classes, else the first.</summary>
    public string? Output { get; init; }

    /// <summary>What stands in for absent features.</summary>
    public BackgroundSpec Background { get; init; } = new();

    /// <summary>When permutation sampling stops.</summary>
    public SamplingSpec Sampling { get; init; } = new();

    /// <summary>The patch that covers parts of an image.</summary>
    public OcclusionSpec Occlusion { get; init; } = new();

    /// <summary>Priority of the job, 0 to 100; default 50.</summary>
    public int Priority { get; init; } = 50;
}

/// <summary>Auto takes exact values up to <see cref="ExactShapley.MaxPlayers"/> inputs, permutation sampling above, occlusion for images.</summary>
public enum ExplanationMethod
{
    Auto,
    Exact,
    Permutation,
    Occlusion,
}

/// <summary>A seeded draw of rows of a split; default 100 rows of <c>train</c>, 1 to <see cref="ExplanationRules.MaxBackground"/>.</summary>
public sealed record BackgroundSpec
{
    public string Split { get; init; } = "train";
    public int Rows { get; init; } = 100;
    public int Seed { get; init; }
}

/// <summary>Sampling ends when every value's standard error is at most <see cref="TargetError"/> (output units) or after <see cref="MaxPairs"/> antithetic pairs.</summary>
public sealed record SamplingSpec
{
    /// <summary>Default 50, 2 to 100 000.</summary>
    public int MaxPairs { get; init; } = 50;

    /// <summary>Default 0.002, at least 0.</summary>
    public double TargetError { get; init; } = 0.002;
}

/// <summary>Patch and stride in pixels; the stride is at most the patch. Default 4 and 2.</summary>
public sealed record OcclusionSpec
{
    public int Patch { get; init; } = 4;
    public int Stride { get; init; } = 2;
}
