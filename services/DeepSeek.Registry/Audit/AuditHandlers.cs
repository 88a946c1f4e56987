using System.Text.Json;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Audit;

/// <summary>An entry as the API shows it.</summary>
public sealed record AuditEntryView(
    long Sequence, Guid EntryId, DateTimeOffset At, DateTimeOffset RecordedAt, string Actor, string Action, string Subject,
    JsonElement Details, string PreviousHash, string Hash);

/// <summary>Which entries to list; each value must be equal, <c>subject</c> may end in <c>*</c>.</summary>
public sealed record AuditFilter(string? Actor, string? Action, string? Subject, DateTimeOffset? Since, DateTimeOffset? Until);

internal static class AuditHandlers
{
    /// <summary>Newest first.</summary>
    public static async Task<Ok<Page<AuditEntryView>>> ListAsync(
        [AsParameters] AuditFilter filter, [AsParameters] PageRequest page, RegistryDb db, CancellationToken cancellationToken)
    {
        var entries = db.AuditEntries.AsNoTracking();
        if (filter.Actor is { } actor)
            entries = entries.Where(e => e.Actor == actor);
        if (filter.Action is { } action)
            entries = entries.Where(e => e.Action == action);
        if (filter.Subject is { } subject)
            entries = subject.EndsWith('*') ? StartingWith(entries, subject[..^1]) : entries.Where(e => e.Subject == subject);
        if (filter.Since?.ToUniversalTime() is { } since)
            entries = entries.Where(e => e.At >= since);
        if (filter.Until?.ToUniversalTime() is { } until)
            entries = entries.Where(e => e.At < until);
        return TypedResults.Ok(await entries.ToPageAsync(e => e.Sequence, page, ViewOf, cancellationToken));
    }

    public static async Task<Ok<AuditVerdict>> VerifyAsync(RegistryDb db, AuditVerifier verifier, CancellationToken cancellationToken) =>
        TypedResults.Ok(await verifier.VerifyAsync(db, cancellationToken));

    private static IQueryable<AuditEntry> StartingWith(IQueryable<AuditEntry> entries, string prefix) => entries.Where(e => e.Subject.StartsWith(prefix));

    private static AuditEntryView ViewOf(AuditEntry entry) =>
        new(entry.Sequence, entry.EntryId, entry.At, entry.RecordedAt, entry.Actor, entry.Action, entry.Subject, DetailsOf(entry.Details),
            Convert.ToHexStringLower(entry.PreviousHash), Convert.ToHexStringLower(entry.Hash));

    /// <summary>The text as JSON; a text that somebody has broken is shown as the string it is.</summary>
    private static JsonElement DetailsOf(string text)
    {
        try
        {
            return JsonSerializer.Deserialize<JsonElement>(text);
        }
        catch (JsonException)
        {
            return JsonSerializer.SerializeToElement(text);
        }
    }
}
