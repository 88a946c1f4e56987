using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Scheduling.Planning;

/// <summary>Carries a plan out: reads the snapshot, plans, locks the rows concerned and changes those that are still as they were read.</summary>
public sealed partial class Scheduler(
    SchedulingDb db, IOptions<SchedulingOptions> options, SchedulingMetrics metrics, TimeProvider clock, ILogger<Scheduler> logger)
{
    /// <summary>Names the planning lock among PostgreSQL's advisory locks.</summary>
    private const long PlanningLock = 0x6465_6570_7363_6864;

    private static readonly TimeSpan PlannedAtPrecision = TimeSpan.FromSeconds(1);

    private readonly SchedulingOptions _options = options.Value;

    /// <summary>False when another replica is planning.</summary>
    public Task<bool> TickAsync(CancellationToken cancellationToken) => db.InTransactionAsync(async () =>
    {
        var mine = await db.Database.SqlQuery<bool>($"select pg_try_advisory_xact_lock({PlanningLock}) as \"Value\"").SingleAsync(cancellationToken);
        if (!mine)
        {
            return false;
        }
        var now = clock.GetUtcNow();
        var noExpiryBefore = await NoteTickAsync(now, cancellationToken);
        var snapshot = await db.ReadSnapshotAsync(now, noExpiryBefore, _options, cancellationToken);
        var plan = Planner.Plan(snapshot);
        if (plan.Count > 0)
        {
            var jobs = (await db.LockJobsAsync([.. plan.Select(step => step.JobId)], cancellationToken)).ToDictionary(job => job.Id);
            var seen = snapshot.Jobs.ToDictionary(job => job.Id);
            foreach (var step in plan)
            {
                // A row that changed between snapshot and lock is left to the next plan, which its change has asked for already.
                if (jobs.TryGetValue(step.JobId, out var job) && job.ToPlanned() == seen[step.JobId])
                {
                    await ApplyAsync(step, job, now, cancellationToken);
                }
            }
        }
        await db.SaveChangesAsync(cancellationToken);
        return true;
    }, cancellationToken);

    private async Task ApplyAsync(Decision step, Job job, DateTimeOffset now, CancellationToken cancellationToken)
    {
        switch (step)
        {
            case Dispatch:
                job.Dispatch(Guid.CreateVersion7(now), now, _options.Acceptance);
                db.Send(JobKinds.Queue(job.Kind), new RunJob
                {
                    JobId = job.Id,
                    Kind = job.Kind,
                    SubjectId = job.SubjectId,
                    LeaseId = job.LeaseId!.Value,
                    Attempt = job.Dispatches,
                    LeaseSeconds = _options.LeaseSeconds,
                });
                LogDispatched(logger, job.Kind, job.Id, job.Dispatches);
                break;
            case Reclaim:
                job.Reclaim(job.LeaseId!.Value, $"no worker accepted it within {_options.AcceptSeconds} s", now, TimeSpan.Zero);
                LogReclaimed(logger, job.Kind, job.Id, _options.AcceptSeconds);
                break;
            case Expire:
                LogExpired(logger, job.Kind, job.Id, job.WorkerId);
                job.Expire(now, _options.BackOff(job.Failures + 1));
                metrics.Evicted(job.Kind, "lost");
                break;
            case Preempt preempt:
                job.Preempt(preempt.ForJobId, now);
                metrics.Preempted(job.Kind);
                LogPreempted(logger, job.Kind, job.Id, preempt.ForJobId);
                break;
        }
        db.Announce(job);
        await db.NotifyAsync(job.Id, cancellationToken);
    }

    /// <summary>
    /// After a time in which no replica could plan, none could take heartbeats either (Scheduling or its database was away),
    /// so every lease gets a full term anew.
    /// </summary>
    private async Task<DateTimeOffset> NoteTickAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        var state = await db.Planning.SingleAsync(row => row.Id == 1, cancellationToken);
        if (now - state.PlannedAt > _options.Lease / 2)
        {
            state.NoExpiryBefore = now + _options.Lease;
        }
        if (now - state.PlannedAt >= PlannedAtPrecision || state.NoExpiryBefore > now)
        {
            state.PlannedAt = now;
        }
        return state.NoExpiryBefore;
    }

    [LoggerMessage(LogLevel.Information, "Job {JobId} ({Kind}) dispatched, number {Dispatch}.")]
    private static partial void LogDispatched(ILogger logger, string kind, Guid jobId, int dispatch);

    [LoggerMessage(LogLevel.Warning, "Job {JobId} ({Kind}) queued again: no worker accepted it within {Seconds} s.")]
    private static partial void LogReclaimed(ILogger logger, string kind, Guid jobId, int seconds);

    [LoggerMessage(LogLevel.Warning, "Job {JobId} ({Kind}) lost its worker {WorkerId}.")]
    private static partial void LogExpired(ILogger logger, string kind, Guid jobId, string? workerId);

    [LoggerMessage(LogLevel.Information, "Job {JobId} ({Kind}) was asked to yield to job {ForJobId}.")]
    private static partial void LogPreempted(ILogger logger, string kind, Guid jobId, Guid forJobId);
}
