namespace DeepSeek.Registry.Audit;

/// <summary>One link of the audit log. The row is written once; see <see cref="AuditChain"/> for what its hash covers.</summary>
public sealed class AuditEntry
{
    /// <summary>1, 2, 3, … without gaps.</summary>
    public required long Sequence { get; init; }

    public required Guid EntryId { get; init; }

    /// <summary>When it was done.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>When the registry wrote it down.</summary>
    public required DateTimeOffset RecordedAt { get; init; }

    public required string Actor { get; init; }

    public required string Action { get; init; }

    public required string Subject { get; init; }

    /// <summary>A JSON object, kept to the letter: its text is part of the hash.</summary>
    public required string Details { get; init; }

    public required byte[] PreviousHash { get; init; }

    public byte[] Hash { get; set; } = [];

    public byte[] Mac { get; set; } = [];
}

/// <summary>How long the log is and how it ends; the one row of its table.</summary>
public sealed class AuditHead
{
    public required int Id { get; init; }

    public required long Sequence { get; set; }

    public required byte[] Hash { get; set; }

    public required byte[] Mac { get; set; }
}

/// <summary>What a caller wants written down.</summary>
public sealed record AuditDraft(Guid EntryId, DateTimeOffset At, string Actor, string Action, string Subject, string Details);
