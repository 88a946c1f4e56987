namespace DeepSeek.Contracts.Datasets;

/// <summary>A dataset is ready: its manifest and everything the manifest names are in the blob store.</summary>
public sealed record DatasetPrepared
{
    public required Guid DatasetId { get; init; }

    public required string Name { get; init; }

    public required string Owner { get; init; }

    /// <summary>Hash of the manifest: the dataset's own hash.</summary>
    public required string ManifestSha256 { get; init; }

    /// <summary>Hash of the raw bytes that were uploaded.</summary>
    public required string SourceSha256 { get; init; }

    public required long Rows { get; init; }

    /// <summary><c>tabular</c> or <c>image</c>.</summary>
    public required string Kind { get; init; }

    /// <summary><c>classification</c> or <c>regression</c>.</summary>
    public required string Task { get; init; }

    public required DateTimeOffset At { get; init; }
}
