namespace DeepSeek.Preprocessing.Datasets;

public enum DatasetState { Queued, Running, Ready, Failed, Cancelled }

/// <summary>A dataset from upload on. Holds no cell of the data but, in the profile, masked statistics.</summary>
public sealed class Dataset
{
    public required Guid Id { get; init; }

    public required string Name { get; init; }

    public required string Owner { get; init; }

    public required DatasetState State { get; set; }

    /// <summary>The spec as it was sent, JSON.</summary>
    public required string Spec { get; init; }

    public required string SourceName { get; init; }

    public required string SourceSha256 { get; init; }

    public required long SourceBytes { get; init; }

    public required Guid JobId { get; init; }

    /// <summary>Of the request that made this row; see <see cref="DeepSeek.ServiceDefaults.RequestKeys"/>.</summary>
    public string? RequestKey { get; init; }

    /// <summary>The fence: results are stored only under the lease that the row carries.</summary>
    public Guid? LeaseId { get; set; }

    public int Attempt { get; set; }

    public string? ManifestSha256 { get; set; }

    public string? Manifest { get; set; }

    public string? Profile { get; set; }

    public long? Rows { get; set; }

    public string? Kind { get; set; }

    public string? Task { get; set; }

    /// <summary>The part of the data at fault, and what to do about it.</summary>
    public string? ProblemField { get; set; }

    public string? ProblemDetail { get; set; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset UpdatedAt { get; set; }

    /// <summary>Grows with every change; the ETag.</summary>
    public long Version { get; set; } = 1;
}
