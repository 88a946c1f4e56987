using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Blobs;

internal static class References
{
    /// <summary>Drops all references of an owner; the grace of what is now unreferenced begins.</summary>
    public static async Task<int> ReleaseAsync(this RegistryDb db, string ownerKind, Guid ownerId, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var held = db.BlobReferences.Where(r => r.OwnerKind == ownerKind && r.OwnerId == ownerId);
        // In the order of their hashes, like every lock of several blobs.
        await db.Database.ExecuteSqlAsync(
            $"""
            select from blobs where sha256 in (select sha256 from blob_references where owner_kind = {ownerKind} and owner_id = {ownerId})
            order by sha256 for update
            """, cancellationToken);
        await db.Blobs.Where(b => held.Any(r => r.Sha256 == b.Sha256)).ExecuteUpdateAsync(set => set.SetProperty(b => b.TouchedAt, now), cancellationToken);
        return await held.ExecuteDeleteAsync(cancellationToken);
    }
}
