namespace DeepSeek.Compression.Compressions;

/// <summary>Stored as text: rename nothing.</summary>
public enum CompressionState
{
    Queued,
    Running,

    /// <summary>Within its budget, and handed to the registry as a version.</summary>
    Succeeded,

    /// <summary>Over its budget; the report has the numbers, no version was registered.</summary>
    Refused,
    Failed,
    Cancelled,
}

/// <summary>One requested compression and, at its end, its report.</summary>
public sealed class CompressionRecord
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }

    /// <summary>Of the request that made this row; see <see cref="DeepSeek.ServiceDefaults.RequestKeys"/>.</summary>
    public string? RequestKey { get; init; }
    public required string Owner { get; init; }
    public required string ModelName { get; init; }
    public int ParentVersion { get; init; }
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>Artifacts of the parent version, JSON: name → hash.</summary>
    public required string ParentArtifacts { get; init; }

    /// <summary>The <see cref="CompressionSpec"/> as JSON.</summary>
    public required string Spec { get; init; }

    public CompressionState State { get; set; }

    /// <summary>Fence: only the worker that holds this lease stores a report.</summary>
    public Guid? LeaseId { get; set; }

    public int Attempt { get; set; }
    public string? Error { get; set; }

    /// <summary>The <see cref="CompressionReport"/> as JSON.</summary>
    public string? Report { get; set; }

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? EndedAt { get; set; }

    public string ResultUri => $"/api/v1/compressions/{Id}";
}
