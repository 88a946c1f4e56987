using System.Text.Json;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace DeepSeek.Registry.Audit;

/// <summary>
/// Appends to the log inside the transaction of the change it tells of. There is one writer at a time: the advisory lock is taken last,
/// behind every row lock of the transaction, and held to its end, which therefore must follow at once.
/// </summary>
public sealed class AuditLog(AuditChain chain, TimeProvider clock)
{
    private const int LockClass = 0x6175_6469; // "audi"

    public AuditDraft Draft(string actor, string action, string subject, object details) =>
        new(Guid.CreateVersion7(), clock.GetUtcNow(), actor, action, subject, JsonSerializer.Serialize(details, PlatformJson.Options));

    /// <summary>Saves the context's changes, appends the entries, commits.</summary>
    public async Task CommitAsync(RegistryDb db, IDbContextTransaction transaction, AuditDraft[] drafts, CancellationToken cancellationToken)
    {
        await AppendAsync(db, drafts, cancellationToken);
        await transaction.CommitAsync(cancellationToken);
    }

    /// <summary>Saves the context's changes and appends the entries; the caller commits. A draft whose id is in the log is left out.</summary>
    public async Task AppendAsync(RegistryDb db, AuditDraft[] drafts, CancellationToken cancellationToken)
    {
        await db.SaveChangesAsync(cancellationToken);
        await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock({LockClass}, 1)", cancellationToken);
        var ids = drafts.Select(d => d.EntryId).ToArray();
        var known = await db.AuditEntries.Where(e => ids.Contains(e.EntryId)).Select(e => e.EntryId).ToListAsync(cancellationToken);
        var head = await db.AuditHeads.SingleOrDefaultAsync(cancellationToken);
        if (head is null)
            db.Add(head = new AuditHead { Id = 1, Sequence = 0, Hash = AuditChain.Origin, Mac = [] });
        else
            await db.Entry(head).ReloadAsync(cancellationToken); // the tracked copy may be older than the lock

        foreach (var draft in drafts.Where(d => !known.Contains(d.EntryId)))
            db.Add(Link(head, draft));
        head.Mac = chain.SignHead(head.Sequence, head.Hash);
        await db.SaveChangesAsync(cancellationToken);
    }

    private AuditEntry Link(AuditHead head, AuditDraft draft)
    {
        var entry = new AuditEntry
        {
            Sequence = ++head.Sequence,
            EntryId = draft.EntryId,
            At = AuditChain.Truncate(draft.At),
            RecordedAt = AuditChain.Truncate(clock.GetUtcNow()),
            Actor = draft.Actor,
            Action = draft.Action,
            Subject = draft.Subject,
            Details = draft.Details,
            PreviousHash = head.Hash,
        };
        entry.Hash = head.Hash = AuditChain.HashOf(entry);
        entry.Mac = chain.SignEntry(entry.Hash);
        return entry;
    }
}
