namespace DeepSeek.Contracts.Registry;

/// <summary>A service has changed something; the registry appends the entry to the audit log once per <see cref="EntryId"/>.</summary>
public sealed record AuditRecorded
{
    public required Guid EntryId { get; init; }

    /// <summary>The principal who did it, or <c>service:&lt;area&gt;</c>.</summary>
    public required string Actor { get; init; }

    /// <summary>Area and verb, for example <c>deployment.created</c>.</summary>
    public required string Action { get; init; }

    /// <summary>What it was done to, for example <c>deployment/breast-cancer</c>.</summary>
    public required string Subject { get; init; }

    /// <summary>A JSON object with whatever else belongs to the entry.</summary>
    public required string Details { get; init; }

    public required DateTimeOffset At { get; init; }
}
