using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Scheduling.Jobs;

// What services say of jobs. Each message is one transition under the job's row lock; the inbox drops repeats, the lease id drops
// what comes from an attempt that is over.

public sealed class SubmitJobConsumer(SchedulingDb db, TimeProvider clock) : InboxConsumer<SchedulingDb, SubmitJob>(db)
{
    protected override async Task HandleAsync(SchedulingDb db, SubmitJob message, CancellationToken cancellationToken)
    {
        // The same job under two message ids, at once: the second waits here and then finds the first one's row.
        await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock(hashtextextended({message.JobId.ToString()}, 0))", cancellationToken);
        if (await db.Jobs.FindAsync([message.JobId], cancellationToken) is null)
        {
            db.Jobs.Add(Job.Create(message, clock.GetUtcNow()));
            await db.NotifyAsync(message.JobId, cancellationToken);
        }
    }
}

public sealed class JobCompletedConsumer(SchedulingDb db, JobReports reports) : InboxConsumer<SchedulingDb, JobCompleted>(db)
{
    protected override Task HandleAsync(SchedulingDb db, JobCompleted message, CancellationToken cancellationToken) =>
        reports.EndAsync(db, message.JobId, message.LeaseId,
            new EndLease { Outcome = LeaseOutcome.Completed, ResultUri = message.ResultUri }, cancellationToken);
}

public sealed class JobFailedConsumer(SchedulingDb db, JobReports reports) : InboxConsumer<SchedulingDb, JobFailed>(db)
{
    protected override Task HandleAsync(SchedulingDb db, JobFailed message, CancellationToken cancellationToken) =>
        reports.EndAsync(db, message.JobId, message.LeaseId,
            new EndLease { Outcome = LeaseOutcome.Failed, Error = message.Error, Retryable = message.Retryable }, cancellationToken);
}

public sealed class JobYieldedConsumer(SchedulingDb db, JobReports reports) : InboxConsumer<SchedulingDb, JobYielded>(db)
{
    protected override Task HandleAsync(SchedulingDb db, JobYielded message, CancellationToken cancellationToken) =>
        reports.EndAsync(db, message.JobId, message.LeaseId, new EndLease { Outcome = LeaseOutcome.Yielded }, cancellationToken);
}

public sealed class JobCancelledConsumer(SchedulingDb db, JobReports reports) : InboxConsumer<SchedulingDb, JobCancelled>(db)
{
    protected override Task HandleAsync(SchedulingDb db, JobCancelled message, CancellationToken cancellationToken) =>
        reports.EndAsync(db, message.JobId, message.LeaseId, new EndLease { Outcome = LeaseOutcome.Cancelled }, cancellationToken);
}

/// <summary>Applies what a worker reports, whether it came by message or over HTTP.</summary>
public sealed partial class JobReports(IOptions<SchedulingOptions> options, TimeProvider clock, ILogger<JobReports> logger)
{
    /// <summary>A declining worker is full for some moment; asking again at once would only spin.</summary>
    private static readonly TimeSpan DeclinePause = TimeSpan.FromSeconds(1);

    public Task EndAsync(SchedulingDb db, Guid jobId, Guid leaseId, EndLease end, CancellationToken cancellationToken) =>
        ApplyAsync(db, jobId, leaseId, (job, now) => end.Outcome switch
        {
            LeaseOutcome.Failed => job.Fail(leaseId, (end.Error ?? "The worker gave no reason.").Storable(), end.Retryable, now,
                options.Value.BackOff(job.Failures + 1)),
            LeaseOutcome.Yielded => job.Yield(leaseId, now),
            LeaseOutcome.Cancelled => job.Cancelled(leaseId, now),
            LeaseOutcome.Completed => job.Complete(leaseId, (end.ResultUri ?? "").Storable(), now),
            LeaseOutcome.Declined => job.Reclaim(leaseId, "the worker had no free slot", now, DeclinePause),
            _ => throw new ArgumentOutOfRangeException(nameof(end)),
        }, cancellationToken);

    private async Task ApplyAsync(
        SchedulingDb db, Guid jobId, Guid leaseId, Func<Job, DateTimeOffset, bool> transition, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (await db.ChangeAsync(jobId, job => transition(job, now), cancellationToken) is not { } change)
        {
            LogUnknown(logger, jobId);
        }
        else if (change.Outcome)
        {
            LogChanged(logger, change.Job.Kind, jobId, change.Job.State);
        }
        else
        {
            LogStale(logger, jobId, leaseId, change.Job.State);
        }
    }

    [LoggerMessage(LogLevel.Information, "Job {JobId} ({Kind}) is {State}.")]
    private static partial void LogChanged(ILogger logger, string kind, Guid jobId, JobState state);

    [LoggerMessage(LogLevel.Information, "Report on job {JobId} under lease {LeaseId} ignored: the lease is over, the job is {State}.")]
    private static partial void LogStale(ILogger logger, Guid jobId, Guid leaseId, JobState state);

    [LoggerMessage(LogLevel.Warning, "Report on job {JobId} ignored: no such job.")]
    private static partial void LogUnknown(ILogger logger, Guid jobId);
}
