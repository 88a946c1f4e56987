using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Jobs;

/// <remarks>How transitions are written down.</remarks>
public sealed partial class Job
{
    private const int MaxLineLength = 4096;

    private bool Holds(Guid leaseId) => LeaseId == leaseId && State is JobState.Running or JobState.Yielding;

    private void LoseAttempt(string cause, bool retryable, DateTimeOffset now, TimeSpan backOff)
    {
        Failures++;
        if (CancelRequested)
        {
            End(JobState.Cancelled, Error, now);
        }
        else if (retryable && Failures < MaxAttempts)
        {
            Requeue(cause, now, now + backOff);
        }
        else
        {
            Error = cause;
            End(JobState.Failed, cause, now);
        }
    }

    private void Requeue(string cause, DateTimeOffset now, DateTimeOffset? notBefore)
    {
        (LeaseId, WorkerId, LeaseUntil, NotBefore) = (null, null, null, notBefore);
        Enter(JobState.Queued, now, cause);
    }

    /// <summary>Keeps the lease's id, so that the last lines of its log still find their job.</summary>
    private void End(JobState state, string? cause, DateTimeOffset now)
    {
        (WorkerId, LeaseUntil, NotBefore) = (null, null, null);
        EndedAt = now;
        Enter(state, now, cause);
    }

    private void Enter(JobState state, DateTimeOffset now, string? cause = null)
    {
        State = state;
        Revision++;
        var data = new StateData(state.Wire(), Attempt, MaxAttempts, Priority, now, cause, WorkerId, Result);
        AddEvent(JobEventType.State, JobEvent.Json(data), now);
    }

    private void CloseAttempt(Guid? leaseId, AttemptOutcome outcome, string? cause, DateTimeOffset now)
    {
        if (Attempts.Find(attempt => attempt.LeaseId == leaseId && attempt.EndedAt is null) is { } attempt)
        {
            (attempt.EndedAt, attempt.Outcome, attempt.Cause) = (now, outcome, cause);
        }
    }

    private void AddLog(Heartbeat beat, DateTimeOffset now, int maxLogLines)
    {
        for (var i = 0; i < beat.Log.Count; i++)
        {
            if (beat.LogStart + i < LeaseLogLines)
            {
                continue;
            }
            LeaseLogLines = beat.LogStart + i + 1;
            if (++LogLines <= maxLogLines)
            {
                var line = beat.Log[i];
                AddEvent(JobEventType.Log, JobEvent.Json(new LogData(line.Length <= MaxLineLength ? line : line[..MaxLineLength] + "…", now)), now);
            }
        }
    }

    private void AddEvent(JobEventType type, string data, DateTimeOffset now) =>
        Events.Add(new JobEvent { JobId = Id, Seq = ++EventCount, Type = type, At = now, Data = data });
}

public static class JobStateNames
{
    /// <summary>The name on the wire: camel case.</summary>
    public static string Wire(this JobState state) => System.Text.Json.JsonNamingPolicy.CamelCase.ConvertName(state.ToString());
}
