using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.Registry.Blobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>Takes versions and models away; the collector frees their bytes once the grace is over.</summary>
public sealed class Deletion(RegistryDb db, AuditLog audit, TimeProvider clock)
{
    public async Task DeleteVersionAsync(string name, int number, string actor, CancellationToken cancellationToken)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var model = await db.LockModelAsync(name, cancellationToken);
        var version = await Living(model).SingleOrDefaultAsync(v => v.Version == number, cancellationToken)
            ?? throw Problems.NotFound("model version", $"{model.Name}/{number}");
        RequireNoAlias(model, [version]);
        var draft = await RemoveAsync(model, version, actor, cancellationToken);
        await audit.CommitAsync(db, transaction, [draft], cancellationToken);
    }

    public async Task DeleteModelAsync(string name, string actor, CancellationToken cancellationToken)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var model = await db.LockModelAsync(name, cancellationToken);
        var versions = await Living(model).ToListAsync(cancellationToken);
        RequireNoAlias(model, versions);
        var drafts = new List<AuditDraft>();
        foreach (var version in versions)
            drafts.Add(await RemoveAsync(model, version, actor, cancellationToken));
        model.DeletedAt = clock.GetUtcNow();
        drafts.Add(audit.Draft(actor, "model.deleted", $"model/{model.Name}", new { versions = versions.Count }));
        await audit.CommitAsync(db, transaction, [.. drafts], cancellationToken);
    }

    private IQueryable<ModelVersion> Living(Model model) =>
        db.Versions.Include(v => v.Aliases).Where(v => v.ModelId == model.Id && v.DeletedAt == null).OrderBy(v => v.Version);

    private async Task<AuditDraft> RemoveAsync(Model model, ModelVersion version, string actor, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        (version.DeletedAt, version.DeletedBy) = (now, actor);
        await db.ReleaseAsync(BlobReference.Version, version.Id, now, cancellationToken);
        db.Publish(new ModelVersionDeleted { ModelName = model.Name, Version = version.Version, VersionId = version.Id, Actor = actor, At = now });
        return audit.Draft(actor, "version.deleted", $"model/{model.Name}/{version.Version}", new { versionId = version.Id });
    }

    private static void RequireNoAlias(Model model, List<ModelVersion> versions)
    {
        if (versions.FirstOrDefault(v => v.Aliases.Count > 0) is { } held)
        {
            throw Problems.Conflict(
                $"Version {held.Version} of '{model.Name}' is @{string.Join(", @", held.Aliases.Select(a => a.Alias).Order())}; move or remove the alias first.");
        }
    }
}
