using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Explainability.Explanations;

/// <summary>One requested explanation and, at its end, its report.</summary>
public sealed class Explanation : JobSubject
{
    public required string ModelName { get; init; }
    public int ModelVersion { get; init; }
    public required string ModelSha256 { get; init; }
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>The <see cref="ExplanationSpec"/> as JSON.</summary>
    public required string Spec { get; init; }

    /// <summary>The <see cref="Reports.ExplanationReport"/> as JSON.</summary>
    public string? Report { get; set; }

    public override string ResultUri => $"/api/v1/explanations/{Id}";
}
