using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Jobs;

/// <remarks>
/// Every transition is idempotent: applied to a state it does not fit, or under a lease that is over, it changes
/// nothing and returns false. Times and lease ids come from outside, so a history can be replayed.
/// </remarks>
public sealed partial class Job
{
    public static Job Create(SubmitJob submitted, DateTimeOffset now, long sequence = 0)
    {
        var job = new Job
        {
            Id = submitted.JobId,
            Kind = submitted.Kind,
            SubjectId = submitted.SubjectId,
            Name = submitted.Name,
            Owner = submitted.Owner,
            Priority = Math.Clamp(submitted.Priority, 0, 100),
            MaxAttempts = Math.Max(1, submitted.MaxAttempts),
            Sequence = sequence,
            CreatedAt = submitted.SubmittedAt,
        };
        job.Enter(JobState.Queued, now);
        return job;
    }

    /// <summary>Offers the job to the workers of its kind.</summary>
    public bool Dispatch(Guid leaseId, DateTimeOffset now, TimeSpan acceptance)
    {
        if (State != JobState.Queued)
        {
            return false;
        }
        (LeaseId, WorkerId, LeaseUntil, NotBefore) = (leaseId, null, now + acceptance, null);
        Dispatches++;
        LeaseLogLines = 0;
        Enter(JobState.Leased, now);
        return true;
    }

    /// <summary>A worker takes the offer; the same worker may ask again, a second worker may not.</summary>
    public bool Accept(Guid leaseId, string workerId, DateTimeOffset now, TimeSpan lease)
    {
        if (LeaseId != leaseId || Ended || (State != JobState.Leased && WorkerId != workerId))
        {
            return false;
        }
        LeaseUntil = now + lease;
        if (State == JobState.Leased)
        {
            (WorkerId, StartedAt, Error) = (workerId, now, null);
            Attempts.Add(new JobAttempt { JobId = Id, Dispatch = Dispatches, LeaseId = leaseId, WorkerId = workerId, StartedAt = now });
            Enter(JobState.Running, now);
        }
        return true;
    }

    public JobDirective Beat(Guid leaseId, Heartbeat beat, DateTimeOffset now, TimeSpan lease, int maxLogLines)
    {
        if (Holds(leaseId) || (Ended && LeaseId == leaseId))
        {
            AddLog(beat, now, maxLogLines);
        }
        if (!Holds(leaseId))
        {
            return JobDirective.Lost;
        }
        LeaseUntil = now + lease;
        var progress = double.IsFinite(beat.Progress) ? Math.Clamp(beat.Progress, 0, 1) : Progress;
        if (progress != Progress || beat.Message != Message || beat.Metrics is { Count: > 0 })
        {
            (Progress, Message) = (progress, beat.Message);
            AddEvent(JobEventType.Progress, JobEvent.Json(new ProgressData(progress, Message, now, beat.Metrics)), now);
        }
        return CancelRequested ? JobDirective.Cancel : State == JobState.Yielding ? JobDirective.Yield : JobDirective.Continue;
    }

    /// <summary>The result is stored, so it counts whatever the lease has become since.</summary>
    public bool Complete(Guid leaseId, string result, DateTimeOffset now)
    {
        if (State == JobState.Succeeded)
        {
            return false;
        }
        var late = Holds(leaseId) ? null : "completed under an earlier lease";
        CloseAttempt(LeaseId, AttemptOutcome.Completed, late, now);
        (Progress, Result, Error) = (1, result, null);
        End(JobState.Succeeded, late, now);
        return true;
    }

    public bool Fail(Guid leaseId, string error, bool retryable, DateTimeOffset now, TimeSpan backOff)
    {
        if (!Holds(leaseId))
        {
            return false;
        }
        CloseAttempt(leaseId, AttemptOutcome.Failed, error, now);
        LoseAttempt(error, retryable, now, backOff);
        return true;
    }

    /// <summary>The heartbeats stopped.</summary>
    public bool Expire(DateTimeOffset now, TimeSpan backOff)
    {
        if (State is not (JobState.Running or JobState.Yielding))
        {
            return false;
        }
        var cause = $"Worker '{WorkerId}' sent no heartbeat until {LeaseUntil:HH:mm:ss 'UTC'}: it died or lost its connection.";
        CloseAttempt(LeaseId, AttemptOutcome.Lost, cause, now);
        LoseAttempt(cause, retryable: true, now, backOff);
        return true;
    }

    /// <summary>Nobody accepted the offer, or the worker declined it: no attempt was made, none is charged.</summary>
    public bool Reclaim(Guid leaseId, string cause, DateTimeOffset now, TimeSpan pause)
    {
        if (LeaseId != leaseId || (State != JobState.Leased && !Holds(leaseId)))
        {
            return false;
        }
        CloseAttempt(leaseId, AttemptOutcome.Yielded, cause, now);
        Requeue(cause, now, now + pause);
        return true;
    }

    /// <summary>The worker saved its state and stopped, asked or because it was leaving.</summary>
    public bool Yield(Guid leaseId, DateTimeOffset now)
    {
        if (!Holds(leaseId))
        {
            return false;
        }
        var cause = State == JobState.Yielding ? "yielded to a job of higher priority" : "its worker was leaving";
        CloseAttempt(leaseId, AttemptOutcome.Yielded, cause, now);
        if (CancelRequested)
        {
            End(JobState.Cancelled, null, now);
        }
        else
        {
            Requeue(cause, now, null);
        }
        return true;
    }

    public bool Cancelled(Guid leaseId, DateTimeOffset now)
    {
        if (!Holds(leaseId))
        {
            return false;
        }
        CloseAttempt(leaseId, AttemptOutcome.Cancelled, Error, now);
        End(JobState.Cancelled, Error, now);
        return true;
    }
}
