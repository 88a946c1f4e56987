using DeepSeek.ServiceDefaults.Messaging;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>Deletes the folders of runs that have ended, also those that ended elsewhere or while this process was away.</summary>
public sealed partial class RunFolderSweeper(
    RunFolders folders, IDbContextFactory<TrainingDb> databases, TimeProvider clock, ILogger<RunFolderSweeper> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(10);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        do
        {
            try
            {
                await SweepAsync(stoppingToken);
            }
            catch (Exception fault) when (Transients.Includes(fault) || fault is UnauthorizedAccessException)
            {
                LogPostponed(logger, fault.Message);
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private async Task SweepAsync(CancellationToken cancellationToken)
    {
        var present = folders.Present();
        if (present.Count == 0)
        {
            return;
        }
        await using var db = await databases.CreateDbContextAsync(cancellationToken);
        var active = await db.Runs.Where(run => present.Contains(run.Id) && (run.State == RunState.Queued || run.State == RunState.Running))
            .Select(run => run.Id).ToListAsync(cancellationToken);
        foreach (var run in present.Except(active))
        {
            folders.Delete(run);
        }
    }

    [LoggerMessage(LogLevel.Warning, "Folders of ended runs stay until the next sweep: {Reason}")]
    private static partial void LogPostponed(ILogger logger, string reason);
}
