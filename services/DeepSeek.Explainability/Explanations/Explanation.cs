namespace DeepSeek.Explainability.Explanations;

public enum ExplanationState
{
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// <summary>One requested explanation and, at its end, its report.</summary>
public sealed class Explanation
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }

    /// <summary>Of the request that made this row; see <see cref="DeepSeek.ServiceDefaults.RequestKeys"/>.</summary>
    public string? RequestKey { get; init; }
    public required string Owner { get; init; }
    public required string ModelName { get; init; }
    public int ModelVersion { get; init; }
    public required string ModelSha256 { get; init; }
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>The <see cref="ExplanationSpec"/> as JSON.</summary>
    public required string Spec { get; init; }

    public ExplanationState State { get; set; }

    /// <summary>Fence: only the worker that holds this lease stores a report.</summary>
    public Guid? LeaseId { get; set; }

    public int Attempt { get; set; }
    public string? Error { get; set; }

    /// <summary>The <see cref="Reports.ExplanationReport"/> as JSON.</summary>
    public string? Report { get; set; }

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? EndedAt { get; set; }

    public string ResultUri => $"/api/v1/explanations/{Id}";
}
