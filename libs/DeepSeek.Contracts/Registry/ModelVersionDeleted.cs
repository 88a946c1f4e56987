namespace DeepSeek.Contracts.Registry;

/// <summary>A version is gone. Its number is never given again.</summary>
public sealed record ModelVersionDeleted
{
    public required string ModelName { get; init; }

    public required int Version { get; init; }

    public required Guid VersionId { get; init; }

    public required string Actor { get; init; }

    public required DateTimeOffset At { get; init; }
}
