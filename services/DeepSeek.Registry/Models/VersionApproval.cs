namespace DeepSeek.Registry.Models;

public enum Decision
{
    Approve,
    Reject,
}

/// <summary>One decision about one version. Of several by the same person the latest counts.</summary>
public sealed class VersionApproval
{
    public required Guid Id { get; init; }

    public Guid VersionId { get; init; }

    public required Decision Decision { get; init; }

    public required string Actor { get; init; }

    public required string Comment { get; init; }

    public required DateTimeOffset At { get; init; }
}

/// <summary>How a version stands with its approvers.</summary>
public enum ApprovalState
{
    Pending,
    Approved,
    Rejected,
}

public static class Approvals
{
    /// <summary>Approved by enough people who are not the author, and rejected by none. Any rejection that its author has not taken back blocks.</summary>
    public static ApprovalState StateOf(ModelVersion version, int required)
    {
        var latest = version.Approvals.GroupBy(a => a.Actor, StringComparer.Ordinal).Select(g => g.MaxBy(a => (a.At, a.Id))!).ToList();
        if (latest.Any(a => a.Decision == Decision.Reject))
            return ApprovalState.Rejected;
        return latest.Count(a => a.Actor != version.Author) >= required ? ApprovalState.Approved : ApprovalState.Pending;
    }
}
