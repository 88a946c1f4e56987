namespace DeepSeek.Contracts.Datasets;

/// <summary>A dataset is gone; the registry no longer keeps its blobs for it. Lineage keeps its hashes.</summary>
public sealed record DatasetDeleted
{
    public required Guid DatasetId { get; init; }

    public required string Actor { get; init; }

    public required DateTimeOffset At { get; init; }
}
