using DeepSeek.Contracts.Jobs;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Npgsql;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>Deletes progress and log of jobs that ended long ago, and workers long unheard of; the jobs, their states and attempts stay.</summary>
public sealed partial class EventPruner(
    IDbContextFactory<SchedulingDb> databases, IOptions<SchedulingOptions> options, TimeProvider clock, ILogger<EventPruner> logger)
    : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromHours(1);
    private static readonly TimeSpan WorkerRetention = TimeSpan.FromDays(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await PruneAsync(stoppingToken);
            }
            catch (NpgsqlException exception)
            {
                LogPostponed(logger, exception.Message);
            }
        }
    }

    public async Task<int> PruneAsync(CancellationToken cancellationToken)
    {
        await using var db = await databases.CreateDbContextAsync(cancellationToken);
        var now = clock.GetUtcNow();
        var endedBefore = now - TimeSpan.FromDays(options.Value.EventRetentionDays);
        var unseenSince = now - WorkerRetention;
        await db.Workers.Where(worker => worker.SeenAt < unseenSince).ExecuteDeleteAsync(cancellationToken);
        return await db.Events
            .Where(entry => entry.Type != JobEventType.State && db.Jobs.Any(job => job.Id == entry.JobId && job.EndedAt < endedBefore))
            .ExecuteDeleteAsync(cancellationToken);
    }

    [LoggerMessage(LogLevel.Warning, "Old events stay for another hour: {Reason}")]
    private static partial void LogPostponed(ILogger logger, string reason);
}
