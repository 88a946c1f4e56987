namespace DeepSeek.Registry.Datasets;

/// <summary>What lineage needs to know of a prepared dataset; preprocessing owns the dataset itself.</summary>
public sealed class DatasetRecord
{
    public required Guid Id { get; init; }

    public required string Name { get; init; }

    public required string Owner { get; init; }

    public required string ManifestSha256 { get; init; }

    public required string SourceSha256 { get; init; }

    public required long Rows { get; init; }

    public required string Kind { get; init; }

    public required string Task { get; init; }

    public required DateTimeOffset PreparedAt { get; init; }
}
