using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.ServiceDefaults.Messaging;
using DeepSeek.Training.Trainers;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Training.Runs;

/// <summary>Deletes the folders of runs that have ended, also those that ended elsewhere or while this process was away.</summary>
/// <remarks>A failed run's folder stays for <see cref="TrainerOptions.FailedFolderDays"/>: a retry resumes from its checkpoints.</remarks>
public sealed partial class RunFolderSweeper(
    RunFolders folders, IDbContextFactory<TrainingDb> databases, IOptions<TrainerOptions> options, TimeProvider clock,
    ILogger<RunFolderSweeper> logger) : BackgroundService
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

    internal async Task SweepAsync(CancellationToken cancellationToken)
    {
        var present = folders.Present();
        if (present.Count == 0)
        {
            return;
        }
        await using var db = await databases.CreateDbContextAsync(cancellationToken);
        var failedSince = clock.GetUtcNow().AddDays(-options.Value.FailedFolderDays);
        var kept = await db.Runs
            .Where(run => present.Contains(run.Id) && (run.State == SubjectState.Queued || run.State == SubjectState.Running
                || (run.State == SubjectState.Failed && run.EndedAt > failedSince)))
            .Select(run => run.Id).ToListAsync(cancellationToken);
        foreach (var run in present.Except(kept))
        {
            folders.Delete(run);
        }
    }

    [LoggerMessage(LogLevel.Warning, "Folders of ended runs stay until the next sweep: {Reason}")]
    private static partial void LogPostponed(ILogger logger, string reason);
}
