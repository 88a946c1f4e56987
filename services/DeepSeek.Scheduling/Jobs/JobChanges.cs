using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Signals;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>Changes of jobs under their row locks; every change tells the world in the same transaction.</summary>
public static class JobChanges
{
    /// <summary>Applies a transition inside the caller's transaction and saves; null when there is no such job.</summary>
    public static async Task<(Job Job, T Outcome)?> ChangeAsync<T>(
        this SchedulingDb db, Guid jobId, Func<Job, T> change, CancellationToken cancellationToken)
    {
        var job = (await db.LockJobsAsync([jobId], cancellationToken)).SingleOrDefault();
        if (job is null)
        {
            return null;
        }
        var before = (job.State, job.EventCount);
        var outcome = change(job);
        if (before.State != job.State)
        {
            db.Announce(job);
        }
        if (before.EventCount != job.EventCount)
        {
            await db.NotifyAsync(job.Id, cancellationToken);
        }
        await db.SaveChangesAsync(cancellationToken);
        return (job, outcome);
    }

    /// <summary>The same in a transaction of its own.</summary>
    public static Task<(Job Job, T Outcome)?> ChangeInTransactionAsync<T>(
        this SchedulingDb db, Guid jobId, Func<Job, T> change, CancellationToken cancellationToken) =>
        db.InTransactionAsync(() => db.ChangeAsync(jobId, change, cancellationToken), cancellationToken);

    /// <summary>Jobs in the order of their ids, locked until the transaction ends, each with its open attempt.</summary>
    public static async Task<IReadOnlyList<Job>> LockJobsAsync(this SchedulingDb db, Guid[] ids, CancellationToken cancellationToken)
    {
        var jobs = await db.Jobs.FromSql($"select * from jobs where id = any({ids}) order by id for update").ToListAsync(cancellationToken);
        await db.Attempts.Where(attempt => ids.Contains(attempt.JobId) && attempt.EndedAt == null).LoadAsync(cancellationToken);
        return jobs;
    }

    /// <summary>Adds what the rest of the platform must learn of a job that has just changed its state.</summary>
    public static void Announce(this SchedulingDb db, Job job)
    {
        if (job.Ended)
        {
            db.Publish(new JobEnded
            {
                JobId = job.Id, Kind = job.Kind, SubjectId = job.SubjectId, State = job.State, Attempt = job.Dispatches, Error = job.Error,
            });
        }
    }

    public static async Task NotifyAsync(this SchedulingDb db, Guid jobId, CancellationToken cancellationToken) =>
        await db.Database.ExecuteSqlAsync($"select pg_notify({JobSignals.Channel}, {jobId.ToString()})", cancellationToken);

    public static async Task<T> InTransactionAsync<T>(this SchedulingDb db, Func<Task<T>> body, CancellationToken cancellationToken)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var result = await body();
        await transaction.CommitAsync(cancellationToken);
        return result;
    }
}
