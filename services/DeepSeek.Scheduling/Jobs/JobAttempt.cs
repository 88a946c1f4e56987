namespace DeepSeek.Scheduling.Jobs;

/// <summary>Stored: append only.</summary>
public enum AttemptOutcome
{
    Completed = 0,
    Failed = 1,

    /// <summary>The heartbeats stopped.</summary>
    Lost = 2,
    Yielded = 3,
    Cancelled = 4,
}

/// <summary>One lease that a worker accepted, and how it ended.</summary>
public sealed class JobAttempt
{
    public Guid JobId { get; init; }

    /// <summary>The dispatch that the worker accepted; gaps are offers that nobody took.</summary>
    public int Dispatch { get; init; }
    public Guid LeaseId { get; init; }
    public required string WorkerId { get; init; }
    public DateTimeOffset StartedAt { get; init; }
    public DateTimeOffset? EndedAt { get; set; }
    public AttemptOutcome? Outcome { get; set; }
    public string? Cause { get; set; }
}
