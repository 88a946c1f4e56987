namespace DeepSeek.Registry.Models;

/// <summary>A name that points to one version now.</summary>
public sealed class ModelAlias
{
    public required Guid ModelId { get; init; }

    public required string Alias { get; init; }

    public Guid VersionId { get; set; }

    public ModelVersion? Version { get; set; }

    public long MoveId { get; set; }

    public AliasMove? Move { get; set; }
}

/// <summary>One move of an alias, kept for good: the history answers what an alias pointed to at any time.</summary>
public sealed class AliasMove
{
    public long Id { get; init; }

    public required Guid ModelId { get; init; }

    public required string Alias { get; init; }

    /// <summary>Null when the alias was removed.</summary>
    public int? Version { get; init; }

    public Guid? VersionId { get; init; }

    public int? PreviousVersion { get; init; }

    public required string Actor { get; init; }

    public required DateTimeOffset At { get; init; }
}
