namespace DeepSeek.Contracts.Registry;

/// <summary>The registry has given a trained, compressed or hand-registered model its immutable version number.</summary>
public sealed record ModelVersionRegistered
{
    public required string ModelName { get; init; }

    public required int Version { get; init; }

    public required Guid VersionId { get; init; }

    /// <summary>The run or compression it came from; for a version registered by hand, the version's own id.</summary>
    public required Guid SourceId { get; init; }

    public required DateTimeOffset At { get; init; }
}
