using System.Text.RegularExpressions;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.HttpResults;

namespace DeepSeek.Registry.Blobs;

/// <summary>Blobs that a thing of another service needs.</summary>
public sealed record ReferenceRequest
{
    public required IReadOnlyList<string> Sha256 { get; init; }
}

/// <summary>For other services: keep these blobs as long as that thing of mine exists.</summary>
internal static partial class ReferenceHandlers
{
    private const int MaxReferences = 100_000;

    public static async Task<NoContent> PutAsync(
        string kind, Guid id, ReferenceRequest request, HttpContext http, RegistryDb db, BlobStore blobs, AuditLog audit, TimeProvider clock, CancellationToken cancellationToken)
    {
        RequireKind(kind);
        if (request.Sha256.Count > MaxReferences)
            throw Problems.Invalid("sha256", $"may be {MaxReferences} hashes at most.");
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        await db.ReleaseAsync(kind, id, clock.GetUtcNow(), cancellationToken);
        var wanted = request.Sha256.Distinct().ToArray();
        var stored = await blobs.LockAsync(wanted, cancellationToken);
        if (wanted.FirstOrDefault(sha256 => !stored.ContainsKey(sha256)) is { } missing)
            throw Problems.Invalid("sha256", $"The blob '{missing}' is not stored; upload it first.");
        db.AddRange(wanted.Select(sha256 => new BlobReference { OwnerKind = kind, OwnerId = id, Sha256 = sha256 }));
        await audit.CommitAsync(db, transaction, [audit.Draft(http.User.Actor(), "references.set", $"{kind}/{id}", new { count = wanted.Length })], cancellationToken);
        return TypedResults.NoContent();
    }

    public static async Task<NoContent> DeleteAsync(
        string kind, Guid id, HttpContext http, RegistryDb db, AuditLog audit, TimeProvider clock, CancellationToken cancellationToken)
    {
        RequireKind(kind);
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        if (await db.ReleaseAsync(kind, id, clock.GetUtcNow(), cancellationToken) is > 0 and var count)
            await audit.CommitAsync(db, transaction, [audit.Draft(http.User.Actor(), "references.released", $"{kind}/{id}", new { count })], cancellationToken);
        return TypedResults.NoContent();
    }

    private static void RequireKind(string kind)
    {
        if (kind == BlobReference.Version || !KindName().IsMatch(kind))
            throw Problems.Invalid("kind", "must be 1 to 32 lower-case letters, and not 'version', which is the registry's own.");
    }

    [GeneratedRegex(@"^[a-z]{1,32}\z")]
    private static partial Regex KindName();
}
