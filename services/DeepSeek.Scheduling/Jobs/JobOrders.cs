using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Jobs;

/// <remarks>What people and the planner ask of a job, whoever works on it; idempotent like the transitions (JobTransitions.cs).</remarks>
public sealed partial class Job
{
    /// <summary>Ends a job that no worker holds; otherwise the worker is told with its next heartbeat.</summary>
    public bool Cancel(string actor, DateTimeOffset now)
    {
        if (Ended || CancelRequested)
        {
            return false;
        }
        Error = $"Cancelled by {actor}.";
        CancelRequested = true;
        if (State is JobState.Queued or JobState.Leased)
        {
            End(JobState.Cancelled, Error, now);
        }
        else
        {
            Enter(State, now, $"cancel requested by {actor}");
        }
        return true;
    }

    /// <summary>Grants a failed job one more attempt; the work done so far is kept where its kind has checkpoints.</summary>
    public bool Retry(string actor, DateTimeOffset now)
    {
        if (State != JobState.Failed)
        {
            return false;
        }
        MaxAttempts = Math.Max(MaxAttempts, Failures + 1);
        (EndedAt, CancelRequested) = (null, false);
        Requeue($"retried by {actor}", now, null);
        return true;
    }

    public bool Prioritise(int priority, string actor, DateTimeOffset now)
    {
        if (Ended || priority == Priority)
        {
            return false;
        }
        var cause = $"priority {Priority} → {priority} by {actor}";
        Priority = priority;
        Enter(State, now, cause);
        return true;
    }

    public bool Preempt(Guid forJobId, DateTimeOffset now)
    {
        if (State != JobState.Running || CancelRequested)
        {
            return false;
        }
        Enter(JobState.Yielding, now, $"gives its slot to job {forJobId} of higher priority");
        return true;
    }
}
