namespace DeepSeek.Inference.Data;

/// <summary>A name under which a model is served, and which of its versions.</summary>
internal sealed class Deployment
{
    public required Guid Id { get; init; }

    public required string Name { get; init; }

    public required string Model { get; set; }

    /// <summary>An alias, or a version's number.</summary>
    public required string Ref { get; set; }

    public required bool Enabled { get; set; }

    public required int MaxBatch { get; set; }

    public required double MaxDelayMs { get; set; }

    public required int MaxQueue { get; set; }

    public Guid? VersionId { get; set; }

    public ServedVersion? Version { get; set; }

    public required long Revision { get; set; }

    public required string CreatedBy { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset UpdatedAt { get; set; }
}

internal sealed class ServedVersion
{
    public required Guid Id { get; init; }

    public required string Model { get; init; }

    public required int Version { get; init; }

    /// <summary>Hash of its model.onnx.</summary>
    public required string Sha256 { get; init; }

    public required DateTimeOffset RecordedAt { get; init; }
}

/// <summary>A living process of this service.</summary>
internal sealed class Replica
{
    public required string Name { get; init; }

    public required DateTimeOffset SeenAt { get; init; }
}

internal sealed class ReplicaVersion
{
    public required string Replica { get; init; }

    public required Guid DeploymentId { get; init; }

    public required int Version { get; init; }

    public required string State { get; init; }

    public string? Error { get; init; }

    public long? Revision { get; init; }

    public string? Attention { get; init; }

    public required DateTimeOffset SeenAt { get; init; }
}

internal sealed class Prediction
{
    public required Guid Id { get; init; }

    public required Guid VersionId { get; init; }

    public required string Deployment { get; init; }

    public required string Model { get; init; }

    public required int Version { get; init; }

    /// <summary><c>tensors</c> or <c>rows</c>.</summary>
    public required string Kind { get; init; }

    public required int Rows { get; init; }

    public required string Actor { get; init; }

    public required long DurationUs { get; init; }

    public string? Results { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }
}
