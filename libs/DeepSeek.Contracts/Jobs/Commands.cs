namespace DeepSeek.Contracts.Jobs;

/// <summary>Asks Scheduling to own a job; published in the transaction that stores the job's subject.</summary>
public sealed record SubmitJob
{
    /// <summary>Chosen by the submitting service; a second message with the same id changes nothing.</summary>
    public required Guid JobId { get; init; }

    /// <summary>One of <see cref="JobKinds"/>.</summary>
    public required string Kind { get; init; }

    /// <summary>The dataset, run, compression or explanation that the job works on.</summary>
    public required Guid SubjectId { get; init; }

    /// <summary>What people read in lists.</summary>
    public required string Name { get; init; }

    public required string Owner { get; init; }

    /// <summary>0 to 100; higher runs first and may ask lower jobs to yield.</summary>
    public int Priority { get; init; } = 50;

    /// <summary>How many attempts may fail before the job does; a yield is not a failure.</summary>
    public int MaxAttempts { get; init; } = 3;

    public required DateTimeOffset SubmittedAt { get; init; }
}

/// <summary>Sent to <see cref="JobKinds.Queue"/>: an offer that a worker accepts by acquiring the lease over HTTP.</summary>
public sealed record RunJob
{
    public required Guid JobId { get; init; }
    public required string Kind { get; init; }
    public required Guid SubjectId { get; init; }

    /// <summary>The fencing token of this dispatch; results are stored only under the newest one.</summary>
    public required Guid LeaseId { get; init; }

    /// <summary>Grows with every dispatch of the job, so that the subject can refuse an older one.</summary>
    public required int Attempt { get; init; }

    /// <summary>Seconds after the last heartbeat at which the lease ends.</summary>
    public required int LeaseSeconds { get; init; }
}
