namespace DeepSeek.Registry.Blobs;

/// <summary>A stored blob.</summary>
public sealed class Blob
{
    public required string Sha256 { get; init; }

    public required long Bytes { get; init; }

    public required string MediaType { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset TouchedAt { get; set; }
}

/// <summary>Something that needs a blob: a model version, a dataset, or what another service names.</summary>
public sealed class BlobReference
{
    public const string Version = "version";
    public const string Dataset = "dataset";

    public required string OwnerKind { get; init; }

    public required Guid OwnerId { get; init; }

    public required string Sha256 { get; init; }
}
