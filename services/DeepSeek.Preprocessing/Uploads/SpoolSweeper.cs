using System.Data.Common;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.ServiceDefaults.Messaging;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Preprocessing.Uploads;

/// <summary>
/// Removes what killed processes left: at start every scratch folder and every upload no living dataset waits for, later uploads
/// that have not grown for a while. Runs before the service listens, so no upload can be under way at start.
/// </summary>
internal sealed partial class SpoolSweeper(Spool spool, IDbContextFactory<PreprocessingDb> databases, IOptions<PreprocessingOptions> options, TimeProvider clock, ILogger<SpoolSweeper> logger) : BackgroundService
{
    private static readonly TimeSpan Pause = TimeSpan.FromMinutes(10);

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (var directory in Directory.EnumerateDirectories(spool.Scratch))
        {
            TryDelete(directory);
        }
        await SweepAsync(TimeSpan.Zero, cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Pause, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                await SweepAsync(options.Value.OrphanAge, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task SweepAsync(TimeSpan age, CancellationToken cancellationToken)
    {
        try
        {
            await using var db = await databases.CreateDbContextAsync(cancellationToken);
            foreach (var directory in Directory.EnumerateDirectories(spool.Uploads))
            {
                var known = Guid.TryParseExact(Path.GetFileName(directory), "N", out var id);
                if (known && await db.Datasets.AnyAsync(d => d.Id == id && (d.State == SubjectState.Queued || d.State == SubjectState.Running), cancellationToken))
                {
                    continue;
                }
                if (age == TimeSpan.Zero || clock.GetUtcNow() - Newest(directory) > age)
                {
                    TryDelete(directory);
                }
            }
        }
        catch (Exception fault) when (fault is DbException || Transients.Includes(fault))
        {
            // The next round finds the same folders; a service that starts must not wait for them.
            LogAway(fault.Message);
        }
    }

    private void TryDelete(string directory)
    {
        try
        {
            Spool.Delete(directory);
            LogSwept(Path.GetFileName(directory));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            LogKept(Path.GetFileName(directory), fault.Message);
        }
    }

    private static DateTimeOffset Newest(string directory) =>
        Directory.EnumerateFiles(directory).Select(File.GetLastWriteTimeUtc).Append(Directory.GetLastWriteTimeUtc(directory)).Max();

    [LoggerMessage(LogLevel.Information, "Removed the orphaned folder {Folder}")]
    private partial void LogSwept(string folder);

    [LoggerMessage(LogLevel.Warning, "The orphaned folder {Folder} stays until the next sweep: {Reason}")]
    private partial void LogKept(string folder, string reason);

    [LoggerMessage(LogLevel.Warning, "Orphaned uploads were not looked for: {Reason}")]
    private partial void LogAway(string reason);
}
