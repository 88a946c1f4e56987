using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Planning;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>One job and the rules by which it changes (JobTransitions.cs, JobOrders.cs); each change adds to its event series.</summary>
public sealed partial class Job
{
    public Guid Id { get; init; }
    public required string Kind { get; init; }
    public Guid SubjectId { get; init; }
    public required string Name { get; init; }
    public required string Owner { get; init; }
    public JobState State { get; private set; }
    public int Priority { get; private set; }

    /// <summary>Order of submission; kept over retries and yields, so that a job never loses its place.</summary>
    public long Sequence { get; init; }
    public int MaxAttempts { get; private set; }

    /// <summary>Attempts that failed or were lost.</summary>
    public int Failures { get; private set; }

    /// <summary>Offers made so far; the fence that a worker's result must pass.</summary>
    public int Dispatches { get; private set; }
    public Guid? LeaseId { get; private set; }
    public string? WorkerId { get; private set; }

    /// <summary>Deadline of the next heartbeat or, while leased, of acceptance.</summary>
    public DateTimeOffset? LeaseUntil { get; private set; }
    public DateTimeOffset? NotBefore { get; private set; }
    public bool CancelRequested { get; private set; }
    public double Progress { get; private set; }
    public string Message { get; private set; } = "";
    public string? Error { get; private set; }
    public string? Result { get; private set; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? StartedAt { get; private set; }
    public DateTimeOffset? EndedAt { get; private set; }

    /// <summary>Changes with state and priority, not with progress: the ETag.</summary>
    public long Revision { get; private set; }
    public long EventCount { get; private set; }

    /// <summary>Log lines of the present lease that are stored or counted; a repeated heartbeat starts below it.</summary>
    public long LeaseLogLines { get; private set; }
    public long LogLines { get; private set; }

    /// <summary>Tracked: the present attempt and new ones; the API reads the whole history by itself.</summary>
    public List<JobAttempt> Attempts { get; } = [];

    /// <summary>Tracked: new ones only.</summary>
    public List<JobEvent> Events { get; } = [];

    public bool Ended => State is JobState.Succeeded or JobState.Failed or JobState.Cancelled;

    /// <summary>Which attempt people are told of, from 1; 0 before the first start.</summary>
    public int Attempt => Math.Min(MaxAttempts, Failures + (State != JobState.Failed && StartedAt is not null ? 1 : 0));

    public PlannedJob ToPlanned() =>
        new(Id, Kind, Name, Priority, Sequence, State, NotBefore, WorkerId, LeaseUntil, StartedAt, CancelRequested);
}
