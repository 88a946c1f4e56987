using DeepSeek.Contracts.Registry;
using DeepSeek.Registry.Audit;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>A version registered by hand from blobs that are in the store.</summary>
public sealed record VersionRequest
{
    /// <summary>1 to 32 files, one of them <c>model.onnx</c>.</summary>
    public required IReadOnlyList<ArtifactRequest> Artifacts { get; init; }

    public IReadOnlyDictionary<string, double> Metrics { get; init; } = new Dictionary<string, double>();

    public int? ParentVersion { get; init; }

    public Guid? DatasetId { get; init; }

    public string? DatasetManifestSha256 { get; init; }

    /// <summary>Where it comes from, for people; at most 2000 characters.</summary>
    public string Note { get; init; } = "";
}

public sealed record ArtifactRequest
{
    public required string Name { get; init; }

    public required string Sha256 { get; init; }

    /// <summary>Default: as it was uploaded.</summary>
    public string? MediaType { get; init; }
}

internal static class VersionHandlers
{
    private const int MaxArtifacts = 32;
    private const int MaxMetrics = 1000;

    public static async Task<Ok<Page<VersionView>>> ListAsync(
        string name, [AsParameters] PageRequest page, ModelQueries queries, CancellationToken cancellationToken)
    {
        var model = await queries.ModelAsync(name, cancellationToken);
        return TypedResults.Ok(await queries.Whole.Where(v => v.ModelId == model.Id && v.DeletedAt == null)
            .ToPageAsync(v => v.Version, page, queries.View, cancellationToken));
    }

    public static async Task<Ok<VersionView>> GetAsync(string name, int version, ModelQueries queries, CancellationToken cancellationToken) =>
        TypedResults.Ok(queries.View(await queries.VersionAsync(name, version, cancellationToken)));

    /// <summary>By id, and even when it is deleted: predictions made long ago name their version so.</summary>
    public static async Task<Ok<VersionView>> GetByIdAsync(Guid id, ModelQueries queries, CancellationToken cancellationToken) =>
        TypedResults.Ok(queries.View(await queries.Whole.SingleOrDefaultAsync(v => v.Id == id, cancellationToken) ?? throw Problems.NotFound("model version", id)));

    public static async Task<Ok<VersionView>> ResolveAsync(string name, string @ref, ModelQueries queries, CancellationToken cancellationToken) =>
        TypedResults.Ok(queries.View(await queries.ResolveAsync(name, @ref, cancellationToken)));

    public static async Task<NoContent> DeleteAsync(string name, int version, HttpContext http, Deletion deletion, CancellationToken cancellationToken)
    {
        await deletion.DeleteVersionAsync(name, version, http.User.Actor(), cancellationToken);
        return TypedResults.NoContent();
    }

    public static async Task<Created<VersionView>> PostAsync(
        string name, VersionRequest request, HttpContext http, RegistryDb db, VersionRegistrar registrar, ArtifactChecks checks,
        AuditLog audit, ModelQueries queries, CancellationToken cancellationToken)
    {
        Names.RequireModel(name);
        Check(request);
        var artifacts = await CompleteAsync(request.Artifacts, db, cancellationToken);
        await checks.RequireSafeAsync(artifacts, cancellationToken);

        await using var transaction = await db.Database.BeginTransactionAsync(cancellationToken);
        var (version, _) = await registrar.AddAsync(new NewVersion
        {
            ModelName = name,
            Author = http.User.Actor(),
            SourceKind = SourceKind.Manual,
            SourceId = Guid.CreateVersion7(),
            ParentVersion = request.ParentVersion,
            DatasetId = request.DatasetId,
            DatasetManifestSha256 = request.DatasetManifestSha256,
            Artifacts = artifacts,
            Metrics = request.Metrics,
            Note = request.Note,
        }, cancellationToken);
        await audit.CommitAsync(db, transaction, [VersionAudit.Draft(audit, version)], cancellationToken);
        return TypedResults.Created($"/api/v1/models/{name}/versions/{version.Version}",
            queries.View(await queries.VersionAsync(name, version.Version, cancellationToken)));
    }

    private static void Check(VersionRequest request)
    {
        if (request.Artifacts.Count is 0 or > MaxArtifacts)
            throw Problems.Invalid("artifacts", $"must be 1 to {MaxArtifacts} files.");
        if (request.Metrics.Count > MaxMetrics)
            throw Problems.Invalid("metrics", $"may be {MaxMetrics} at most.");
        if (request.Metrics.Keys.FirstOrDefault(k => k.Length is 0 or > 100) is { } key)
            throw Problems.Invalid("metrics", $"'{Names.Shorten(key)}' is not a metric's name: 1 to 100 characters.");
        if (request.Note.Length > 2000)
            throw Problems.Invalid("note", "may have 2000 characters at most.");
        if (request.DatasetManifestSha256 is { } sha256 && !BlobRef.IsSha256(sha256))
            throw Problems.Invalid("datasetManifestSha256", "must be 64 lower-case hexadecimal digits.");
    }

    /// <summary>Sizes and media types as they are stored; what is not stored keeps size -1, and the checks name it.</summary>
    private static async Task<List<Artifact>> CompleteAsync(IReadOnlyList<ArtifactRequest> requests, RegistryDb db, CancellationToken cancellationToken)
    {
        var wanted = requests.Select(a => a.Sha256).ToArray();
        var blobs = await db.Blobs.AsNoTracking().Where(b => wanted.Contains(b.Sha256)).ToDictionaryAsync(b => b.Sha256, cancellationToken);
        return [.. requests.Select(a => new Artifact
        {
            Name = a.Name,
            Sha256 = a.Sha256,
            Bytes = blobs.GetValueOrDefault(a.Sha256)?.Bytes ?? -1,
            MediaType = a.MediaType ?? blobs.GetValueOrDefault(a.Sha256)?.MediaType ?? BlobRef.DefaultMediaType,
        })];
    }
}
