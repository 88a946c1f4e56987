using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Blobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>Everything that becomes an immutable version.</summary>
public sealed record NewVersion
{
    public required string ModelName { get; init; }

    public required string Author { get; init; }

    public required SourceKind SourceKind { get; init; }

    /// <summary>Unique per kind: registering the same source again finds the version it became.</summary>
    public required Guid SourceId { get; init; }

    public int? ParentVersion { get; init; }

    public Guid? DatasetId { get; init; }

    public string? DatasetManifestSha256 { get; init; }

    public required IReadOnlyList<Artifact> Artifacts { get; init; }

    /// <summary>Hashes the version needs beside its artifacts, for example a report.</summary>
    public IReadOnlyList<string> AlsoKeep { get; init; } = [];

    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    public string Note { get; init; } = "";
}

/// <summary>Gives versions their numbers. Everything happens in the caller's transaction, under the model's row lock.</summary>
public sealed class VersionRegistrar(RegistryDb db, BlobStore blobs, TimeProvider clock)
{
    /// <summary>The version of this source, and whether it is new.</summary>
    public async Task<(ModelVersion Version, bool IsNew)> AddAsync(NewVersion request, CancellationToken cancellationToken)
    {
        Names.RequireModel(request.ModelName);
        var model = await CreateOrLockAsync(request, cancellationToken);
        var known = await db.Versions.Include(v => v.Model)
            .SingleOrDefaultAsync(v => v.SourceKind == request.SourceKind && v.SourceId == request.SourceId, cancellationToken);
        if (known is not null)
            return (known, false);

        var parent = await ParentAsync(model, request.ParentVersion, cancellationToken);
        var stored = await RequireBlobsAsync(request, cancellationToken);
        model.DeletedAt = null;
        var version = new ModelVersion
        {
            Id = request.SourceKind == SourceKind.Manual ? request.SourceId : Guid.CreateVersion7(),
            ModelId = model.Id,
            Model = model,
            Version = ++model.LastVersion,
            ParentVersion = request.ParentVersion,
            Author = request.Author,
            SourceKind = request.SourceKind,
            SourceId = request.SourceId,
            DatasetId = request.DatasetId ?? parent?.DatasetId,
            DatasetManifestSha256 = request.DatasetManifestSha256 ?? parent?.DatasetManifestSha256,
            Note = request.Note,
            CreatedAt = clock.GetUtcNow(),
            Artifacts = [.. request.Artifacts.Select(a => new VersionArtifact { Name = a.Name, Sha256 = a.Sha256, Bytes = a.Bytes, MediaType = a.MediaType })],
            Metrics = [.. request.Metrics.Select(m => new VersionMetric { Name = m.Key, Value = m.Value })],
        };
        db.Add(version);
        db.AddRange(stored.Keys.Select(sha256 => new BlobReference { OwnerKind = BlobReference.Version, OwnerId = version.Id, Sha256 = sha256 }));
        db.Publish(new ModelVersionRegistered
        {
            ModelName = model.Name,
            Version = version.Version,
            VersionId = version.Id,
            SourceId = version.SourceId,
            At = version.CreatedAt,
        });
        RegistryTelemetry.Versions.Add(1);
        return (version, true);
    }

    private async Task<Model> CreateOrLockAsync(NewVersion request, CancellationToken cancellationToken)
    {
        var (id, now) = (Guid.CreateVersion7(), clock.GetUtcNow());
        await db.Database.ExecuteSqlAsync(
            $"insert into models (id, name, created_by, created_at, last_version) values ({id}, {request.ModelName}, {request.Author}, {now}, 0) on conflict (name) do nothing",
            cancellationToken);
        return await db.LockModelAsync(request.ModelName, cancellationToken, alsoDeleted: true);
    }

    private async Task<ModelVersion?> ParentAsync(Model model, int? number, CancellationToken cancellationToken) =>
        number is null ? null
        : await db.Versions.SingleOrDefaultAsync(v => v.ModelId == model.Id && v.Version == number, cancellationToken)
            ?? throw Problems.Invalid("parentVersion", $"The model '{model.Name}' has no version {number}.");

    private async Task<Dictionary<string, Blob>> RequireBlobsAsync(NewVersion request, CancellationToken cancellationToken)
    {
        var stored = await blobs.LockAsync(request.Artifacts.Select(a => a.Sha256).Concat(request.AlsoKeep), cancellationToken);
        var errors = new Dictionary<string, string[]>();
        for (var i = 0; i < request.Artifacts.Count; i++)
        {
            var artifact = request.Artifacts[i];
            if (!stored.TryGetValue(artifact.Sha256, out var blob))
                errors[$"artifacts[{i}].sha256"] = [$"The blob {artifact.Sha256} of '{artifact.Name}' is not stored; upload it to /api/v1/blobs/{artifact.Sha256} first."];
            else if (blob.Bytes != artifact.Bytes)
                errors[$"artifacts[{i}].bytes"] = [$"The blob of '{artifact.Name}' has {blob.Bytes} bytes, not {artifact.Bytes}."];
        }

        return errors.Count == 0 ? stored : throw Problems.Invalid(errors);
    }
}
