using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>What a handler sees of the lease it works under. Thread-safe but for the members that take a DbContext.</summary>
public abstract class JobContext
{
    public required Guid JobId { get; init; }
    public required Guid SubjectId { get; init; }

    /// <summary>The fence: results are stored only while the subject's row still carries it.</summary>
    public required Guid LeaseId { get; init; }

    /// <summary>Grows with every dispatch; a subject takes a lease only when its attempt is greater than the stored one.</summary>
    public required int Attempt { get; init; }

    /// <summary>Fires when the slot is wanted for a job of higher priority or this process is leaving: checkpoint, then <see cref="Yield"/>.</summary>
    public abstract CancellationToken YieldToken { get; }

    public bool YieldRequested => YieldToken.IsCancellationRequested;

    /// <summary>Somebody cancelled the job.</summary>
    public abstract bool CancelRequested { get; }

    /// <summary>Scheduling gave the job to somebody else: store nothing.</summary>
    public abstract bool Lost { get; }

    /// <summary>Sent with the next heartbeat: progress from 0 to 1, one line for people, and lines for the job's log.</summary>
    public abstract void Report(double progress, string message, params string[] log);

    /// <summary>As above, with numbers for the job's progress event; the newest value of each name is sent.</summary>
    public abstract void Report(double progress, string message, IReadOnlyDictionary<string, double> metrics);

    /// <summary>
    /// Sends now what was reported since the last heartbeat, so that whoever watches the job does not hear of its end first. Best effort: returns
    /// after two seconds at most.
    /// </summary>
    public virtual Task FlushAsync() => Task.CompletedTask;

    /// <summary>Adds <c>JobCompleted</c> to the outbox; the caller saves it together with the result.</summary>
    public abstract void Complete(DbContext db, string resultUri);

    /// <summary>Adds <c>JobFailed</c> to the outbox; the caller saves.</summary>
    public abstract void Fail(DbContext db, string error, bool retryable);

    /// <summary>Adds <c>JobYielded</c> to the outbox; the caller saves. The job is queued again at no cost of an attempt.</summary>
    public abstract void Yield(DbContext db);

    /// <summary>Adds <c>JobCancelled</c> to the outbox; the caller saves.</summary>
    public abstract void Cancel(DbContext db);

    /// <summary>Says that a newer attempt holds the subject, so this one ends without a trace.</summary>
    public abstract void Drop();
}
