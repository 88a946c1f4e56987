using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Planning;

/// <summary>Everything a plan depends on: the same snapshot gives the same plan.</summary>
/// <param name="Now">The moment of the plan.</param>
/// <param name="NoExpiryBefore">Until then no lease ends: nobody could take heartbeats for a while.</param>
/// <param name="Workers">Live workers only.</param>
/// <param name="Jobs">Every active job, and of the queued ones at least as many per kind as there are slots.</param>
public sealed record Snapshot(
    DateTimeOffset Now,
    DateTimeOffset NoExpiryBefore,
    IReadOnlyList<LiveWorker> Workers,
    IReadOnlyList<PlannedJob> Jobs);

/// <param name="Rating">Operations a second of its best device; 0 where none was rated.</param>
public sealed record LiveWorker(string Id, string Kind, int Slots, double Rating = 0);

/// <param name="Sequence">Order of submission.</param>
/// <param name="NotBefore">A queued job waits at least until then.</param>
/// <param name="WorkerId">Who accepted the lease; null while it is only dispatched.</param>
/// <param name="LeaseUntil">Deadline of the next heartbeat, or of acceptance.</param>
public sealed record PlannedJob(
    Guid Id,
    string Kind,
    string Name,
    int Priority,
    long Sequence,
    JobState State,
    DateTimeOffset? NotBefore = null,
    string? WorkerId = null,
    DateTimeOffset? LeaseUntil = null,
    DateTimeOffset? StartedAt = null,
    bool CancelRequested = false)
{
    public bool Active => State is JobState.Leased or JobState.Running or JobState.Yielding;

    /// <summary>Its slot will be free without anybody asking again.</summary>
    public bool Releasing => State == JobState.Yielding || (State == JobState.Running && CancelRequested);

    public bool EligibleAt(DateTimeOffset now) => State == JobState.Queued && (NotBefore is null || NotBefore <= now);
}

/// <summary>One step that a plan takes; steps of one plan do not depend on each other's outcome.</summary>
public abstract record Decision(Guid JobId);

/// <summary>Offer the job to its kind's queue.</summary>
public sealed record Dispatch(Guid JobId) : Decision(JobId);

/// <summary>No worker accepted the offer in time: queue it again, at no cost of an attempt.</summary>
public sealed record Reclaim(Guid JobId) : Decision(JobId);

/// <summary>The heartbeats stopped: the attempt is lost.</summary>
public sealed record Expire(Guid JobId) : Decision(JobId);

/// <summary>Ask the running job to yield its slot to <paramref name="ForJobId"/>.</summary>
public sealed record Preempt(Guid JobId, Guid ForJobId) : Decision(JobId);
