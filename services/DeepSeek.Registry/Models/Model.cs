namespace DeepSeek.Registry.Models;

/// <summary>A named line of versions. A deleted one keeps its row, so its numbers are never given again.</summary>
public sealed class Model
{
    public required Guid Id { get; init; }

    public required string Name { get; init; }

    public required string CreatedBy { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public int LastVersion { get; set; }

    public DateTimeOffset? DeletedAt { get; set; }

    public List<ModelVersion> Versions { get; } = [];

    public List<ModelAlias> Aliases { get; } = [];
}

/// <summary>An immutable version. Deleting it frees its bytes; the row stays, so that lineage and history still answer.</summary>
public sealed class ModelVersion
{
    public required Guid Id { get; init; }

    public required Guid ModelId { get; init; }

    public Model? Model { get; init; }

    public required int Version { get; init; }

    public int? ParentVersion { get; init; }

    public required string Author { get; init; }

    public required SourceKind SourceKind { get; init; }

    public required Guid SourceId { get; init; }

    public Guid? DatasetId { get; init; }

    public string? DatasetManifestSha256 { get; init; }

    public required string Note { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public DateTimeOffset? DeletedAt { get; set; }

    public string? DeletedBy { get; set; }

    public List<VersionArtifact> Artifacts { get; init; } = [];

    public List<VersionMetric> Metrics { get; init; } = [];

    public List<VersionApproval> Approvals { get; init; } = [];

    public List<ModelAlias> Aliases { get; init; } = [];
}

/// <summary>What made a version.</summary>
public enum SourceKind
{
    Run,
    Compression,
    Manual,
}

public sealed class VersionArtifact
{
    public Guid VersionId { get; init; }

    public required string Name { get; init; }

    public required string Sha256 { get; init; }

    public required long Bytes { get; init; }

    public required string MediaType { get; init; }
}

public sealed class VersionMetric
{
    public Guid VersionId { get; init; }

    public required string Name { get; init; }

    public required double Value { get; init; }
}
