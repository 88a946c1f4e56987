using System.Globalization;
using DeepSeek.Registry.Blobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Audit;

/// <summary>
/// The end of the log noted in a file beside the blobs, every few seconds. A signed head alone would not tell when someone puts back an older,
/// equally well signed state of the database.
/// </summary>
public sealed class AuditAnchor(BlobFiles files)
{
    public sealed record Point(long Sequence, byte[] Hash);

    private readonly string _path = Path.Combine(files.Root, "audit.head");
    private readonly Lock _writing = new();

    public Point? Read()
    {
        if (!File.Exists(_path))
            return null;
        var parts = File.ReadAllText(_path).Split(' ');
        return new Point(long.Parse(parts[0], CultureInfo.InvariantCulture), Convert.FromHexString(parts[1].Trim()));
    }

    /// <summary>Notes the end of the log; never an earlier one than noted before.</summary>
    public async Task NoteAsync(RegistryDb db, CancellationToken cancellationToken)
    {
        if (await db.AuditHeads.AsNoTracking().SingleOrDefaultAsync(cancellationToken) is not { Sequence: > 0 } head)
            return;
        lock (_writing)
        {
            if (Read() is { } noted && noted.Sequence >= head.Sequence)
                return;
            DurableFiles.WriteText(_path, string.Create(CultureInfo.InvariantCulture, $"{head.Sequence} {Convert.ToHexStringLower(head.Hash)}\n"));
        }
    }
}

/// <summary>Keeps the anchor up to date.</summary>
internal sealed partial class AuditAnchorService(AuditAnchor anchor, IServiceScopeFactory scopes, TimeProvider clock, ILogger<AuditAnchorService> log) : BackgroundService
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(5);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_period, clock);
        try
        {
            do
            {
                try
                {
                    await using var scope = scopes.CreateAsyncScope();
                    await anchor.NoteAsync(scope.ServiceProvider.GetRequiredService<RegistryDb>(), stoppingToken);
                }
                catch (Exception fault) when (fault is not OperationCanceledException)
                {
                    LogFault(fault);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The service is stopping.
        }
    }

    [LoggerMessage(LogLevel.Warning, "The end of the audit log could not be noted; trying again in 5 seconds.")]
    private partial void LogFault(Exception fault);
}
