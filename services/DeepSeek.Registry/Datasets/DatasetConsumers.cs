using System.Buffers.Binary;
using System.Text.Json;
using DeepSeek.Contracts.Datasets;
using DeepSeek.Registry.Audit;
using DeepSeek.Registry.Blobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Datasets;

/// <summary>Notes a dataset for lineage and keeps every blob that its manifest names.</summary>
public sealed partial class DatasetPreparedConsumer(
    RegistryDb db, BlobStore blobs, BlobFiles files, AuditLog audit, TimeProvider clock, ILogger<DatasetPreparedConsumer> log)
    : InboxConsumer<RegistryDb, DatasetPrepared>(db)
{
    protected override async Task HandleAsync(RegistryDb db, DatasetPrepared message, CancellationToken cancellationToken)
    {
        await db.LockDatasetAsync(message.DatasetId, cancellationToken);
        if (await db.Datasets.AnyAsync(d => d.Id == message.DatasetId, cancellationToken))
            return;
        // The two messages come by queues of their own: what is deleted already is only noted, or its blobs would be kept for good.
        var released = await db.IsReleasedAsync(message.DatasetId, cancellationToken);
        var named = released ? [] : await HashesAsync(message, cancellationToken);
        var stored = released ? [] : await blobs.LockAsync(named.Append(message.ManifestSha256), cancellationToken);
        if (!released && !stored.ContainsKey(message.ManifestSha256))
            throw Problems.Unprocessable($"The manifest {message.ManifestSha256} of dataset {message.DatasetId} is not in the blob store.");

        // The source's own hash is in the manifest, too, but raw data is never stored.
        if (named.FirstOrDefault(sha256 => !stored.ContainsKey(sha256) && sha256 != message.SourceSha256) is { } missing)
            LogMissing(message.DatasetId, missing);
        db.AddRange(stored.Keys.Select(sha256 => new BlobReference { OwnerKind = BlobReference.Dataset, OwnerId = message.DatasetId, Sha256 = sha256 }));
        db.Add(new DatasetRecord
        {
            Id = message.DatasetId,
            Name = message.Name,
            Owner = message.Owner,
            ManifestSha256 = message.ManifestSha256,
            SourceSha256 = message.SourceSha256,
            Rows = message.Rows,
            Kind = message.Kind,
            Task = message.Task,
            PreparedAt = clock.GetUtcNow(),
        });
        await audit.AppendAsync(db, [audit.Draft(message.Owner, "dataset.recorded", $"dataset/{message.DatasetId}",
            new { message.ManifestSha256, message.SourceSha256, blobs = stored.Count })], cancellationToken);
    }

    private async Task<HashSet<string>> HashesAsync(DatasetPrepared message, CancellationToken cancellationToken)
    {
        if (!files.Exists(message.ManifestSha256))
            return [];
        try
        {
            await using var manifest = files.Open(message.ManifestSha256);
            return await ManifestHashes.AllOfAsync(manifest, cancellationToken);
        }
        catch (JsonException fault)
        {
            throw Problems.Unprocessable($"The manifest {message.ManifestSha256} of dataset {message.DatasetId} is not JSON: {fault.Message}");
        }
    }

    [LoggerMessage(LogLevel.Warning, "The manifest of dataset {DatasetId} names {Sha256}, which is not in the blob store.")]
    private partial void LogMissing(Guid datasetId, string sha256);
}

/// <summary>Lets go of a deleted dataset's blobs; its record stays for the lineage of what was trained on it.</summary>
public sealed class DatasetDeletedConsumer(RegistryDb db, AuditLog audit, TimeProvider clock) : InboxConsumer<RegistryDb, DatasetDeleted>(db)
{
    protected override async Task HandleAsync(RegistryDb db, DatasetDeleted message, CancellationToken cancellationToken)
    {
        await db.LockDatasetAsync(message.DatasetId, cancellationToken);
        var count = await db.ReleaseAsync(BlobReference.Dataset, message.DatasetId, clock.GetUtcNow(), cancellationToken);
        await audit.AppendAsync(db, [audit.Draft(message.Actor, DatasetLocks.Released, DatasetLocks.Subject(message.DatasetId), new { blobs = count })], cancellationToken);
    }
}

internal static class DatasetLocks
{
    public const string Released = "dataset.released";

    public static string Subject(Guid dataset) => $"dataset/{dataset}";

    /// <summary>Lets one message about a dataset be handled after the other, to the end of the transaction.</summary>
    public static Task<int> LockDatasetAsync(this RegistryDb db, Guid dataset, CancellationToken cancellationToken)
    {
        // The last bytes: the first ones of a version 7 id are its time.
        var key = BinaryPrimitives.ReadInt64BigEndian(dataset.ToByteArray(bigEndian: true).AsSpan(8));
        return db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock({key})", cancellationToken);
    }

    /// <summary>Whether the log tells of its deletion.</summary>
    public static Task<bool> IsReleasedAsync(this RegistryDb db, Guid dataset, CancellationToken cancellationToken)
    {
        var subject = Subject(dataset);
        return db.AuditEntries.AnyAsync(e => e.Subject == subject && e.Action == Released, cancellationToken);
    }
}
