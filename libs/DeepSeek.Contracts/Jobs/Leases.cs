namespace DeepSeek.Contracts.Jobs;

/// <summary>Body of <c>POST /api/v1/jobs/{id}/lease</c>.</summary>
public sealed record AcquireLease
{
    public required Guid LeaseId { get; init; }
    public required string WorkerId { get; init; }
}

/// <summary>Body of <c>PUT /api/v1/jobs/{id}/lease/{leaseId}</c>.</summary>
public sealed record Heartbeat
{
    /// <summary>0 to 1.</summary>
    public double Progress { get; init; }

    public string Message { get; init; } = "";

    /// <summary>Number of the first line of <see cref="Log"/>, counted from 0 within the lease: a repeated heartbeat stores no line twice.</summary>
    public long LogStart { get; init; }

    public IReadOnlyList<string> Log { get; init; } = [];

    public IReadOnlyDictionary<string, double>? Metrics { get; init; }
}

public sealed record HeartbeatReply
{
    public required JobDirective Directive { get; init; }
}

/// <summary>
/// Body of <c>POST /api/v1/jobs/{id}/lease/{leaseId}/end</c>: how the lease ended. What the worker committed travels by message too;
/// whichever comes second changes nothing.
/// </summary>
public sealed record EndLease
{
    public required LeaseOutcome Outcome { get; init; }
    public string? Error { get; init; }
    public bool Retryable { get; init; }

    /// <summary>Where the result is read; of <see cref="LeaseOutcome.Completed"/> only.</summary>
    public string? ResultUri { get; init; }
}

/// <summary>Stored and sent: append only.</summary>
public enum LeaseOutcome
{
    Failed = 0,
    Yielded = 1,
    Cancelled = 2,

    /// <summary>The worker had no free slot or was leaving; nothing was run.</summary>
    Declined = 3,
    Completed = 4,
}
