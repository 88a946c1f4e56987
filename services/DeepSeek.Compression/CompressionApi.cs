using System.Text.Json;
using DeepSeek.Compression.Compressions;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Data;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Compression;

public static class CompressionApi
{
    public static IEndpointRouteBuilder MapCompressionApi(this IEndpointRouteBuilder app)
    {
        var compressions = app.MapGroup("/api/v1/compressions").WithTags("Compressions");
        compressions.MapPost("/", Create).RequireAuthorization(Policies.Operator);
        compressions.MapGet("/", List).RequireAuthorization(Policies.Reader);
        compressions.MapGet("/{id:guid}", Get).RequireAuthorization(Policies.Reader);
        return app;
    }

    private static async Task<Accepted<CompressionView>> Create(
        CompressionSpec spec, HttpContext http, CompressionDb db, RegistryClient registry, BlobClient blobs, TimeProvider clock, CancellationToken cancellationToken)
    {
        Refuse(CompressionRules.Check(spec));
        var content = JsonSerializer.Serialize(spec, PlatformJson.Options);
        var key = http.RequestKey(JobKinds.Compress, content);
        if (await db.FindRepeatedAsync<CompressionRecord>(key, cancellationToken) is { } earlier)
            return Accepted(earlier);
        var parent = await registry.ResolveAsync(spec.ModelName, spec.Version, cancellationToken)
            ?? throw Problems.Invalid("version", $"There is no version '{spec.Version}' of model '{spec.ModelName}'.");
        if (parent.Artifacts.All(a => a.Name != CompressionRunner.ModelFile))
            throw Problems.Unprocessable($"Version {parent.Version} of model '{parent.ModelName}' has no {CompressionRunner.ModelFile} to compress.");
        if (parent.DatasetManifestSha256 is not { } manifest)
            throw Problems.Unprocessable($"Version {parent.Version} of model '{parent.ModelName}' tells of no dataset, so there are no rows to calibrate and measure with.");
        Refuse(CompressionRules.Check(spec, await DatasetAsync(blobs, manifest, cancellationToken)));

        var compression = new CompressionRecord
        {
            Id = Guid.CreateVersion7(),
            JobId = Guid.CreateVersion7(),
            RequestKey = key,
            Owner = http.User.Actor(),
            ModelName = parent.ModelName,
            ParentVersion = parent.Version,
            DatasetManifestSha256 = manifest,
            ParentArtifacts = JsonSerializer.Serialize(parent.Artifacts.ToDictionary(a => a.Name, a => a.Sha256), PlatformJson.Options),
            Spec = content,
            CreatedAt = clock.GetUtcNow(),
        };
        db.Audit(compression.Owner, "compression.requested", $"compression/{compression.Id}", new { parent.ModelName, parent.Version });
        return Accepted(await db.SubmitAsync(
            compression, JobKinds.Compress, $"compress {parent.ModelName} version {parent.Version}", spec.Priority ?? 50, cancellationToken));
    }

    private static Accepted<CompressionView> Accepted(CompressionRecord compression) =>
        TypedResults.Accepted(compression.ResultUri, CompressionView.Of(compression));

    private static Task<Page<CompressionView>> List(CompressionDb db, [AsParameters] PageRequest page, CancellationToken cancellationToken) =>
        db.Compressions.AsNoTracking().ToPageAsync(row => row.Id, page, CompressionView.Of, cancellationToken);

    private static async Task<CompressionView> Get(Guid id, CompressionDb db, CancellationToken cancellationToken) =>
        CompressionView.Of(await db.Compressions.AsNoTracking().SingleOrDefaultAsync(row => row.Id == id, cancellationToken) ?? throw Problems.NotFound("compression", id));

    /// <summary>A version registered by hand may name any hash as its dataset's.</summary>
    private static async Task<DatasetManifest> DatasetAsync(BlobClient blobs, string manifest, CancellationToken cancellationToken)
    {
        try
        {
            return DatasetManifest.Parse(await blobs.ReadAsync(manifest, cancellationToken));
        }
        catch (Exception fault) when (fault is InvalidDataException or BlobNotFoundException)
        {
            throw Problems.Unprocessable($"The dataset {manifest} that the version names cannot be read. {fault.Message}");
        }
    }

    private static void Refuse(Dictionary<string, string[]> errors)
    {
        if (errors.Count > 0)
            throw Problems.Invalid(errors);
    }
}
