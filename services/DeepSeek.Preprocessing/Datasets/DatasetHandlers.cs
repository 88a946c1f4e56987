using System.Text;
using DeepSeek.Contracts.Datasets;
using DeepSeek.Preprocessing.Uploads;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Preprocessing.Datasets;

internal static class DatasetHandlers
{
    private const string Json = "application/json";

    public static Task<Accepted<DatasetAccepted>> PostAsync(HttpContext http, UploadHandler upload, CancellationToken cancellationToken) =>
        upload.PostAsync(http, cancellationToken);

    /// <summary>Newest first; <c>name</c> and <c>state</c> narrow the list.</summary>
    public static async Task<Ok<Page<DatasetView>>> ListAsync(
        string? name, string? state, [AsParameters] PageRequest page, PreprocessingDb db, CancellationToken cancellationToken)
    {
        var datasets = db.Datasets.AsNoTracking();
        if (name is not null)
        {
            datasets = datasets.Where(d => d.Name == name);
        }
        if (state is not null)
        {
            var wanted = Enum.TryParse<DatasetState>(state, ignoreCase: true, out var parsed) && Enum.IsDefined(parsed) && !char.IsAsciiDigit(state[0])
                ? (SubjectState)parsed
                : throw Problems.Invalid("state", "must be queued, running, ready, failed or cancelled.");
            datasets = datasets.Where(d => d.State == wanted || (wanted == SubjectState.Failed && d.State == SubjectState.Refused));
        }
        return TypedResults.Ok(await datasets.ToPageAsync(d => d.Id, page, DatasetView.Row, d => d.Id, DatasetView.Of, cancellationToken));
    }

    public static async Task<Ok<DatasetView>> GetAsync(Guid id, HttpContext http, PreprocessingDb db, CancellationToken cancellationToken)
    {
        var dataset = await FindAsync(db, id, cancellationToken);
        ETags.Set(http, dataset.Version);
        return TypedResults.Ok(DatasetView.Of(dataset));
    }

    public static async Task<ContentHttpResult> ProfileAsync(Guid id, PreprocessingDb db, CancellationToken cancellationToken) =>
        TypedResults.Text(Ready(await FindAsync(db, id, cancellationToken)).Profile!, Json, Encoding.UTF8);

    /// <summary>The manifest's own bytes, which hash to the dataset's hash.</summary>
    public static async Task<ContentHttpResult> ManifestAsync(Guid id, HttpContext http, PreprocessingDb db, CancellationToken cancellationToken)
    {
        var dataset = Ready(await FindAsync(db, id, cancellationToken));
        http.Response.Headers.ETag = $"\"{dataset.ManifestSha256}\"";
        return TypedResults.Text(dataset.Manifest!, Json, Encoding.UTF8);
    }

    public static async Task<NoContent> DeleteAsync(Guid id, HttpContext http, PreprocessingDb db, Spool spool, TimeProvider clock, CancellationToken cancellationToken)
    {
        var dataset = await db.Datasets.SingleOrDefaultAsync(d => d.Id == id, cancellationToken) ?? throw Problems.NotFound("dataset", id);
        ETags.Check(http, dataset.Version);
        if (dataset.State is SubjectState.Queued or SubjectState.Running)
        {
            throw Problems.Conflict($"The dataset is being prepared. Cancel job {dataset.JobId} first.");
        }
        var actor = http.User.Actor();
        db.Datasets.Remove(dataset);
        db.Publish(new DatasetDeleted { DatasetId = id, Actor = actor, At = clock.GetUtcNow() });
        db.Audit(actor, "dataset.delete", $"dataset/{id}", new { dataset.Name, dataset.ManifestSha256 });
        try
        {
            await db.SaveChangesAsync(cancellationToken);
        }
        catch (DbUpdateConcurrencyException)
        {
            throw Problems.Conflict("The dataset changed meanwhile; read it again.");
        }
        spool.DeleteUpload(id);
        return TypedResults.NoContent();
    }

    private static async Task<Dataset> FindAsync(PreprocessingDb db, Guid id, CancellationToken cancellationToken) =>
        await db.Datasets.AsNoTracking().SingleOrDefaultAsync(d => d.Id == id, cancellationToken) ?? throw Problems.NotFound("dataset", id);

    private static Dataset Ready(Dataset dataset) => dataset.State == SubjectState.Succeeded
        ? dataset
        : throw Problems.Conflict(dataset.Error is { } problem
            ? $"The dataset is {dataset.State.Shown().ToString().ToLowerInvariant()}: {problem}"
            : $"The dataset is {dataset.State.Shown().ToString().ToLowerInvariant()}; job {dataset.JobId} tells when it is ready.");
}
