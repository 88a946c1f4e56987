using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling.Planning;

public static class SnapshotReader
{
    /// <summary>A waiting job further back than three times the slots cannot matter to a plan: each slot is dispatched to, coming or taken once.</summary>
    private const int WaitingPerSlot = 3;

    public static async Task<Snapshot> ReadSnapshotAsync(
        this SchedulingDb db, DateTimeOffset now, DateTimeOffset noExpiryBefore, SchedulingOptions options, CancellationToken cancellationToken)
    {
        var workers = await db.LiveWorkersAsync(now, options, cancellationToken);
        var jobs = await db.ActiveJobs().ToListAsync(cancellationToken);
        foreach (var kind in workers.GroupBy(worker => worker.Kind))
        {
            jobs.AddRange(await db.Jobs.AsNoTracking()
                .Where(job => job.State == JobState.Queued && job.Kind == kind.Key && (job.NotBefore == null || job.NotBefore <= now))
                .OrderByDescending(job => job.Priority).ThenBy(job => job.Sequence)
                .Take(WaitingPerSlot * kind.Sum(worker => worker.Slots))
                .ToListAsync(cancellationToken));
        }
        return new Snapshot(now, noExpiryBefore, workers, [.. jobs.Select(job => job.ToPlanned())]);
    }

    public static async Task<IReadOnlyList<LiveWorker>> LiveWorkersAsync(
        this SchedulingDb db, DateTimeOffset now, SchedulingOptions options, CancellationToken cancellationToken)
    {
        var since = now - TimeSpan.FromSeconds(options.WorkerTimeoutSeconds);
        return await db.Workers.AsNoTracking()
            .Where(worker => worker.SeenAt > since && worker.Slots > 0)
            .OrderBy(worker => worker.Id)
            .Select(worker => new LiveWorker(worker.Id, worker.Kind, worker.Slots, worker.Rating ?? 0))
            .ToListAsync(cancellationToken);
    }

    public static IQueryable<Job> ActiveJobs(this SchedulingDb db) => db.Jobs.AsNoTracking().Where(job =>
        job.State == JobState.Leased || job.State == JobState.Running || job.State == JobState.Yielding);
}
