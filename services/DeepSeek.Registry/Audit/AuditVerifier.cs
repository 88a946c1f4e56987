using System.Data;
using System.Security.Cryptography;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Audit;

/// <summary>The outcome of a check of the whole log.</summary>
public sealed record AuditVerdict(bool Valid, long Entries, AuditBreak? FirstBroken);

/// <summary>The first entry that is not as it was written, and why.</summary>
public sealed record AuditBreak(long Sequence, string Reason);

/// <summary>Walks the log from its first entry, one row in memory at a time.</summary>
public sealed class AuditVerifier(AuditChain chain, AuditAnchor anchor)
{
    public async Task<AuditVerdict> VerifyAsync(RegistryDb db, CancellationToken cancellationToken)
    {
        // One snapshot, so that entries appended meanwhile do not look like a wrong head.
        await using var transaction = await db.Database.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellationToken);
        var anchored = anchor.Read();
        var head = await db.AuditHeads.AsNoTracking().SingleOrDefaultAsync(cancellationToken);
        var (previous, count) = (AuditChain.Origin, 0L);
        await foreach (var entry in db.AuditEntries.AsNoTracking().OrderBy(e => e.Sequence).AsAsyncEnumerable().WithCancellation(cancellationToken))
        {
            var expected = count + 1;
            if (FaultOf(entry, expected, previous, anchored) is { } fault)
                return new AuditVerdict(false, count, new AuditBreak(expected, fault));
            (previous, count) = (entry.Hash, expected);
        }

        var end = EndFault(head, count, previous, anchored);
        return new AuditVerdict(end is null, count, end is null ? null : new AuditBreak(end.Value.Sequence, end.Value.Reason));
    }

    private string? FaultOf(AuditEntry entry, long expected, byte[] previous, AuditAnchor.Point? anchored)
    {
        if (entry.Sequence != expected)
            return $"The entry is missing: number {entry.Sequence} follows {expected - 1}.";
        if (!entry.PreviousHash.AsSpan().SequenceEqual(previous))
            return "The entry does not continue the one before it: its previous hash is another.";
        if (!AuditChain.HashOf(entry).AsSpan().SequenceEqual(entry.Hash))
            return "The entry was changed: its fields do not give its hash.";
        if (!CryptographicOperations.FixedTimeEquals(chain.SignEntry(entry.Hash), entry.Mac))
            return "The entry was not written by this registry: its signature is wrong.";
        if (anchored is { } point && point.Sequence == expected && !point.Hash.AsSpan().SequenceEqual(entry.Hash))
            return "The entry is not the one this registry has noted outside the database.";
        return null;
    }

    private (long Sequence, string Reason)? EndFault(AuditHead? head, long count, byte[] last, AuditAnchor.Point? anchored)
    {
        if (anchored is { } point && point.Sequence > count)
            return (count + 1, $"The entry is missing at the end of the log: this registry has noted {point.Sequence} entries outside the database (audit.head beside the blobs), {count} are there.");
        if (head is null)
            return count == 0 ? null : (count, "The head of the log is missing.");
        if (!CryptographicOperations.FixedTimeEquals(chain.SignHead(head.Sequence, head.Hash), head.Mac))
            return (Math.Max(count, 1), "The head of the log was not written by this registry: its signature is wrong.");
        if (head.Sequence > count)
            return (count + 1, $"The entry is missing at the end of the log: its head names {head.Sequence} entries, {count} are there.");
        if (head.Sequence < count)
            return (head.Sequence + 1, $"The entry is behind the end of the log: its head names {head.Sequence} entries.");
        return head.Hash.AsSpan().SequenceEqual(last) ? null : (count, "The last entry is not the one that the head of the log names.");
    }
}
