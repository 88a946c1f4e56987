using System.Text.Json;
using DeepSeek.Registry.Blobs;
using DeepSeek.Registry.Datasets;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Registry.Models;

/// <summary>One step of a chain: <c>modelVersion</c>, <c>compression</c>, <c>run</c>, <c>manual</c>, <c>dataset</c>, or <c>source</c>.</summary>
public sealed record LineageStep(string Kind, Guid? Id, string? Name, int? Version, string? Sha256, string? By, DateTimeOffset? At);

/// <summary>Where a version comes from, step by step: version → what made it → (its parent → …) → dataset manifest → source bytes.</summary>
public sealed record LineageView(string ModelName, int Version, Guid VersionId, string? DatasetManifestSha256, string? SourceSha256, IReadOnlyList<LineageStep> Steps);

/// <summary>Follows a version back to the bytes it learned from. Deleted versions keep their lineage.</summary>
public sealed class Lineage(RegistryDb db, BlobFiles files)
{
    private const int MaxDepth = 100;

    public async Task<LineageView> OfAsync(Guid versionId, CancellationToken cancellationToken)
    {
        var first = await LoadAsync(v => v.Id == versionId, cancellationToken) ?? throw Problems.NotFound("model version", versionId);
        var steps = new List<LineageStep>();
        var current = first;
        for (var depth = 0; depth < MaxDepth; depth++)
        {
            var graph = current.Artifacts.FirstOrDefault(a => a.Name == "model.onnx")?.Sha256;
            steps.Add(new LineageStep("modelVersion", current.Id, current.Model!.Name, current.Version, graph, current.Author, current.CreatedAt));
            steps.Add(new LineageStep(current.SourceKind.ToString().ToLowerInvariant(), current.SourceId, null, null, null, current.Author, current.CreatedAt));
            if (current.ParentVersion is not { } parent)
                break;
            var modelId = current.ModelId;
            current = await LoadAsync(v => v.ModelId == modelId && v.Version == parent, cancellationToken)
                ?? throw new InvalidOperationException($"Version {parent} of model {modelId} is missing.");
        }

        var source = await AddDatasetAsync(steps, current, cancellationToken);
        return new LineageView(first.Model!.Name, first.Version, first.Id, current.DatasetManifestSha256, source, steps);
    }

    private Task<ModelVersion?> LoadAsync(System.Linq.Expressions.Expression<Func<ModelVersion, bool>> which, CancellationToken cancellationToken) =>
        db.Versions.AsNoTracking().AsSplitQuery().Include(v => v.Model).Include(v => v.Artifacts).SingleOrDefaultAsync(which, cancellationToken);

    private async Task<string?> AddDatasetAsync(List<LineageStep> steps, ModelVersion version, CancellationToken cancellationToken)
    {
        if (version.DatasetManifestSha256 is not { } manifest)
            return null;
        var dataset = await db.Datasets.AsNoTracking().Where(d => d.ManifestSha256 == manifest)
            .OrderByDescending(d => d.Id == version.DatasetId).FirstOrDefaultAsync(cancellationToken);
        steps.Add(new LineageStep("dataset", dataset?.Id ?? version.DatasetId, dataset?.Name, null, manifest, dataset?.Owner, dataset?.PreparedAt));
        // The message that tells of the dataset may still be under way; the manifest itself knows, too.
        var source = dataset?.SourceSha256 ?? await SourceOfAsync(manifest, cancellationToken);
        if (source is not null)
            steps.Add(new LineageStep("source", null, dataset?.Name, null, source, dataset?.Owner, null));
        return source;
    }

    private async Task<string?> SourceOfAsync(string manifest, CancellationToken cancellationToken)
    {
        if (!files.Exists(manifest))
            return null;
        await using var stream = files.Open(manifest);
        return await ManifestHashes.SourceOfAsync(stream, cancellationToken);
    }
}

internal static class LineageHandlers
{
    public static async Task<Ok<LineageView>> OfVersionAsync(string name, int version, RegistryDb db, Lineage lineage, CancellationToken cancellationToken)
    {
        var id = await db.Versions.Where(v => v.Model!.Name == name && v.Version == version).Select(v => (Guid?)v.Id).SingleOrDefaultAsync(cancellationToken)
            ?? throw Problems.NotFound("model version", $"{Names.Shorten(name)}/{version}");
        return TypedResults.Ok(await lineage.OfAsync(id, cancellationToken));
    }

    public static async Task<Ok<LineageView>> OfIdAsync(Guid id, Lineage lineage, CancellationToken cancellationToken) =>
        TypedResults.Ok(await lineage.OfAsync(id, cancellationToken));
}
