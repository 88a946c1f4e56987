using DeepSeek.Onnx.Runtime;

namespace DeepSeek.Inference.Deployments;

/// <summary>Body of PUT /api/v1/deployments/{name}.</summary>
internal sealed record PutDeployment
{
    public const int DefaultMaxBatch = 64;
    public const int DefaultMaxQueue = 256;
    public const int LargestBatch = 4096;
    public const double LongestDelayMs = 1000;
    public const int LargestQueue = 100_000;

    /// <summary>Name of a registered model.</summary>
    public required string Model { get; init; }

    /// <summary>An alias, for example <c>production</c>, or a version's number.</summary>
    public required string Ref { get; init; }

    /// <summary>Most rows of one execution; 0 merges nothing. Default 64.</summary>
    public int? MaxBatch { get; init; }

    /// <summary>Milliseconds the first request of a batch waits for others; default 0, which merges only what waits anyway.</summary>
    public double? MaxDelayMs { get; init; }

    /// <summary>Most requests that wait; more get 429. Default 256.</summary>
    public int? MaxQueue { get; init; }
}

/// <summary>A deployment as the API tells of it.</summary>
internal sealed record DeploymentDocument
{
    public required Guid Id { get; init; }

    public required string Name { get; init; }

    public required string Model { get; init; }

    public required string Ref { get; init; }

    /// <summary>False after an unload: known, but served by no replica.</summary>
    public required bool Enabled { get; init; }

    /// <summary>Of all living replicas together.</summary>
    public required DeploymentState State { get; init; }

    /// <summary>The version that the reference points to; null when it points to none.</summary>
    public required int? TargetVersion { get; init; }

    public required int MaxBatch { get; init; }

    public required double MaxDelayMs { get; init; }

    public required int MaxQueue { get; init; }

    /// <summary>What the replica that answers holds.</summary>
    public required IReadOnlyList<VersionStatus> Versions { get; init; }

    /// <summary>
    /// What the version that the answering replica serves attends with: <c>blockSparse</c>, or <c>dense</c>, which a block-sparse model is computed with
    /// where the platform's operators are missing; null for models without attention.
    /// </summary>
    public required ServedAttention? Attention { get; init; }

    /// <summary>What is wrong with the reference or the loading; null when nothing is.</summary>
    public required string? Error { get; init; }

    /// <summary>What every living replica holds, as it said last.</summary>
    public required IReadOnlyList<ReplicaDocument> Replicas { get; init; }

    public required string CreatedBy { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required DateTimeOffset UpdatedAt { get; init; }
}

/// <param name="ServedRevision">The deployment's revision (its ETag) that the replica serves as it shall; null while it does not.</param>
internal sealed record ReplicaDocument(string Replica, IReadOnlyList<VersionStatus> Versions, long? ServedRevision);

internal enum DeploymentState
{
    /// <summary>Some living replica does not serve the target yet.</summary>
    Rolling,

    /// <summary>Every living replica serves the target, and nothing else.</summary>
    Ready,

    /// <summary>Some living replica cannot load the target; what it served before goes on.</summary>
    Failed,

    /// <summary>Switched off.</summary>
    Disabled,
}
