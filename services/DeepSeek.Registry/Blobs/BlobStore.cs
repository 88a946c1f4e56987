using System.Buffers.Binary;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Registry.Blobs;

/// <summary>
/// Blobs as rows and files together. A row says that the file is there: the file gets its name before the row is committed and loses it
/// after the row is gone, both under the blob's advisory lock, so whatever is killed in between leaves a file without a row at worst,
/// which the collector sweeps.
/// </summary>
public sealed class BlobStore(RegistryDb db, BlobFiles files, AuditLog audit, IOptions<RegistryOptions> options, TimeProvider clock)
{
    /// <summary>Renews the blob's grace; null when it is not stored.</summary>
    public async Task<Blob?> TouchAsync(string sha256, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var found = await db.Blobs.Where(b => b.Sha256 == sha256)
            .ExecuteUpdateAsync(set => set.SetProperty(b => b.TouchedAt, now), cancellationToken) == 1;
        return found && files.Exists(sha256) ? await FindAsync(sha256, cancellationToken) : null;
    }

    public Task<Blob?> FindAsync(string sha256, CancellationToken cancellationToken) =>
        db.Blobs.AsNoTracking().SingleOrDefaultAsync(b => b.Sha256 == sha256, cancellationToken);

    /// <summary>Stores the stream under its hash; false when the blob was there already.</summary>
    public async Task<bool> PutAsync(string sha256, Stream content, long? announced, string mediaType, string actor, CancellationToken cancellationToken)
    {
        if (announced > options.Value.MaxBlobBytes)
            throw BlobFiles.TooLarge(options.Value.MaxBlobBytes);
        if (await TouchAsync(sha256, cancellationToken) is not null)
        {
            RequireHash(sha256, await files.DrainAsync(content, cancellationToken));
            return false;
        }

        var incoming = await files.ReceiveAsync(content, announced, cancellationToken);
        try
        {
            RequireHash(sha256, incoming.Sha256);
            return await PlaceAsync(incoming, mediaType, actor, cancellationToken);
        }
        finally
        {
            File.Delete(incoming.Path);
        }
    }

    /// <summary>Locks rows of blobs that are to be referenced, in an order that cannot deadlock; returns what is stored of them.</summary>
    public async Task<Dictionary<string, Blob>> LockAsync(IEnumerable<string> sha256s, CancellationToken cancellationToken)
    {
        var wanted = sha256s.Distinct().ToArray();
        var rows = await db.Blobs.FromSql($"select * from blobs where sha256 = any({wanted}) order by sha256 for update").ToListAsync(cancellationToken);
        foreach (var row in rows)
            row.TouchedAt = clock.GetUtcNow();
        return rows.ToDictionary(row => row.Sha256);
    }

    /// <summary>Held to the end of the transaction by whoever gives a file its name or takes it away.</summary>
    public static async Task LockFileAsync(RegistryDb db, string sha256, CancellationToken cancellationToken)
    {
        var key = BinaryPrimitives.ReadInt64BigEndian(Convert.FromHexString(sha256.AsSpan(0, 16)));
        await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock({key})", cancellationToken);
    }

    private async Task<bool> PlaceAsync(Incoming incoming, string mediaType, string actor, CancellationToken cancellationToken)
    {
        var sha256 = incoming.Sha256;
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        await LockFileAsync(db, sha256, cancellationToken);
        var now = clock.GetUtcNow();
        var known = await db.Blobs.Where(b => b.Sha256 == sha256)
            .ExecuteUpdateAsync(set => set.SetProperty(b => b.TouchedAt, now), cancellationToken) == 1;
        if (!known || !files.Exists(sha256))
            files.Place(incoming);
        if (known)
        {
            await transaction.CommitAsync(cancellationToken);
            return false;
        }

        db.Add(new Blob { Sha256 = sha256, Bytes = incoming.Bytes, MediaType = mediaType, CreatedAt = now, TouchedAt = now });
        await audit.CommitAsync(db, transaction,
            [audit.Draft(actor, "blob.stored", $"blob/{sha256}", new { incoming.Bytes, mediaType })], cancellationToken);
        RegistryTelemetry.StoredBytes.Add(incoming.Bytes);
        return true;
    }

    private static void RequireHash(string named, string found)
    {
        if (named != found)
            throw Problems.Unprocessable($"The body hashes to {found}, the address names {named}. Nothing was kept; send the bytes whose hash the address names.");
    }
}
