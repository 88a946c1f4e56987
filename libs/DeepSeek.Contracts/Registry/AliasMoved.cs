namespace DeepSeek.Contracts.Registry;

/// <summary>An alias points to another version than before, or to none.</summary>
public sealed record AliasMoved
{
    public required string ModelName { get; init; }

    /// <summary>Without the <c>@</c>, for example <c>production</c>.</summary>
    public required string Alias { get; init; }

    /// <summary>Null when the alias was removed.</summary>
    public required int? Version { get; init; }

    public required Guid? VersionId { get; init; }

    /// <summary>Null when the alias is new.</summary>
    public required int? PreviousVersion { get; init; }

    public required string Actor { get; init; }

    public required DateTimeOffset At { get; init; }
}
