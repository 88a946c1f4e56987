using DeepSeek.Registry.Audit;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Blobs;

/// <summary>What a collection deleted.</summary>
public sealed record GarbageReport(int Blobs, long Bytes);

/// <summary>
/// Deletes blobs that nothing has referred to for longer than the grace. A row goes first, in the same transaction as its audit entry and
/// only if it still qualifies; then, under the blob's lock, the file, unless an upload has brought the blob back meanwhile.
/// </summary>
public sealed class BlobCollector(RegistryDb db, BlobFiles files, AuditLog audit, TimeProvider clock)
{
    private const int BatchSize = 100;

    public async Task<GarbageReport> CollectAsync(TimeSpan grace, string actor, CancellationToken cancellationToken)
    {
        var before = clock.GetUtcNow() - grace;
        var report = new GarbageReport(0, 0);
        while (await NextAsync(before, cancellationToken) is { Length: > 0 } batch)
        {
            var deleted = await DeleteRowsAsync(batch, before, actor, cancellationToken);
            if (deleted.Length == 0)
                break; // every one of them has been touched or referenced since it was listed
            report = report with { Blobs = report.Blobs + deleted.Length, Bytes = report.Bytes + await DeleteFilesAsync(deleted, cancellationToken) };
        }

        foreach (var chunk in files.OlderThan(before).Chunk(BatchSize))
            report = report with { Bytes = report.Bytes + await DeleteFilesAsync(await WithoutRowAsync(chunk, cancellationToken), cancellationToken) };
        RegistryTelemetry.FreedBytes.Add(report.Bytes);
        return report;
    }

    private Task<string[]> NextAsync(DateTimeOffset before, CancellationToken cancellationToken) =>
        db.Blobs.Where(b => b.TouchedAt < before && !db.BlobReferences.Any(r => r.Sha256 == b.Sha256))
            .OrderBy(b => b.TouchedAt).Select(b => b.Sha256).Take(BatchSize).ToArrayAsync(cancellationToken);

    private async Task<string[]> DeleteRowsAsync(string[] batch, DateTimeOffset before, string actor, CancellationToken cancellationToken)
    {
        db.ChangeTracker.Clear();
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        // Whoever touches or references one of these holds its row; when he is done the conditions are looked at again.
        var rows = await db.Blobs.FromSql($"select * from blobs where sha256 = any({batch}) and touched_at < {before} order by sha256 for update skip locked")
            .AsNoTracking().ToListAsync(cancellationToken);
        var locked = rows.Select(r => r.Sha256).ToArray();
        var free = await db.Blobs.Where(b => locked.Contains(b.Sha256) && !db.BlobReferences.Any(r => r.Sha256 == b.Sha256))
            .Select(b => b.Sha256).ToArrayAsync(cancellationToken);
        if (free.Length == 0)
            return [];
        await db.Blobs.Where(b => free.Contains(b.Sha256)).ExecuteDeleteAsync(cancellationToken);
        var bytes = rows.Where(r => free.Contains(r.Sha256)).Sum(r => r.Bytes);
        await audit.CommitAsync(db, transaction, [audit.Draft(actor, "blobs.collected", "blobs", new { count = free.Length, bytes, sha256 = free })], cancellationToken);
        return free;
    }

    private Task<string[]> WithoutRowAsync(string[] found, CancellationToken cancellationToken) =>
        db.Database.SqlQuery<string>($"select f as \"Value\" from unnest({found}) f where not exists (select from blobs where sha256 = f)").ToArrayAsync(cancellationToken);

    private async Task<long> DeleteFilesAsync(string[] sha256s, CancellationToken cancellationToken)
    {
        var bytes = 0L;
        foreach (var sha256 in sha256s)
        {
            await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
            await BlobStore.LockFileAsync(db, sha256, cancellationToken);
            if (!await db.Blobs.AnyAsync(b => b.Sha256 == sha256, cancellationToken))
                bytes += files.Delete(sha256);
        }

        return bytes;
    }
}

/// <summary>Collects at regular times.</summary>
internal sealed partial class CollectorService(
    IServiceScopeFactory scopes, Microsoft.Extensions.Options.IOptions<RegistryOptions> options, TimeProvider clock, ILogger<CollectorService> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.Value.CollectEvery, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
                await CollectAsync(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The service is stopping.
        }
    }

    private async Task CollectAsync(CancellationToken cancellationToken)
    {
        try
        {
            await using var scope = scopes.CreateAsyncScope();
            var report = await scope.ServiceProvider.GetRequiredService<BlobCollector>().CollectAsync(options.Value.Grace, "service:registry", cancellationToken);
            if (report.Bytes > 0)
                LogCollected(report.Blobs, report.Bytes);
        }
        catch (Exception fault) when (fault is not OperationCanceledException)
        {
            LogFault(fault);
        }
    }

    [LoggerMessage(LogLevel.Information, "Collected {Blobs} blobs nothing referred to, {Bytes} bytes.")]
    private partial void LogCollected(int blobs, long bytes);

    [LoggerMessage(LogLevel.Error, "The collection of garbage failed; the next one tries again.")]
    private partial void LogFault(Exception fault);
}
