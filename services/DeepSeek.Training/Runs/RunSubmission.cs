using System.Text;
using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Contracts.Training;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Http;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>Accepts a run: the spec by itself, then the spec for its dataset, then row and job in one transaction.</summary>
public static class RunSubmission
{
    private const int MaxSpecBytes = 1 << 20;

    public static async Task<Accepted<RunAccepted>> PostAsync(
        HttpContext http, TrainingDb db, DatasetClient datasets, TimeProvider clock, CancellationToken cancellationToken)
    {
        var spec = Parse(await ReadBodyAsync(http.Request, cancellationToken));
        var faults = RunSpecValidator.Validate(spec);
        if (faults.Count > 0)
        {
            throw Problems.Invalid(faults);
        }
        var content = Encoding.UTF8.GetString(RunSpecJson.Write(spec));
        var key = http.RequestKey(JobKinds.Train, content);
        if (await db.FindRepeatedAsync<Run>(key, cancellationToken) is { } earlier)
        {
            return Accepted(earlier);
        }
        var dataset = await FindDatasetAsync(datasets, spec.DatasetId, cancellationToken);
        faults = RunSpecValidator.ValidateAgainst(spec, dataset.Kind!, dataset.Task!, dataset.Summary?.Classes ?? [], dataset.Summary?.FeatureShape);
        if (faults.Count > 0)
        {
            throw Problems.Invalid(faults);
        }
        var run = new Run
        {
            Id = Guid.CreateVersion7(),
            JobId = Guid.CreateVersion7(),
            RequestKey = key,
            Name = spec.Name,
            ModelName = spec.ModelName,
            Owner = http.User.Actor(),
            DatasetId = spec.DatasetId,
            DatasetManifestSha256 = dataset.ManifestSha256!,
            Spec = content,
            CreatedAt = clock.GetUtcNow(),
        };
        db.Audit(run.Owner, "run.create", $"runs/{run.Id}", new { run.ModelName, run.DatasetId, run.DatasetManifestSha256 });
        return Accepted(await db.SubmitAsync(run, JobKinds.Train, run.Name, spec.Priority, cancellationToken));
    }

    private static Accepted<RunAccepted> Accepted(Run run) =>
        TypedResults.Accepted(run.ResultUri, new RunAccepted(run.Id, run.JobId, run.State));

    private static RunSpec Parse(byte[] body)
    {
        try
        {
            return RunSpecJson.Parse(body) ?? throw Problems.Invalid("body", "must be an object, not null.");
        }
        catch (JsonException fault)
        {
            throw JsonFaults.ToProblem(fault);
        }
    }

    private static async Task<byte[]> ReadBodyAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (!request.HasJsonContentType())
        {
            throw new ApiProblem(StatusCodes.Status415UnsupportedMediaType, "Unsupported media type", "Send the run spec as application/json.");
        }
        using var body = new MemoryStream();
        var buffer = new byte[16 * 1024];
        for (int read; (read = await request.Body.ReadAsync(buffer, cancellationToken)) > 0;)
        {
            body.Write(buffer, 0, read);
            if (body.Length > MaxSpecBytes)
            {
                throw Problems.TooLarge($"A run spec has at most {MaxSpecBytes} bytes.");
            }
        }
        return body.ToArray();
    }

    private static async Task<DatasetInfo> FindDatasetAsync(DatasetClient datasets, Guid id, CancellationToken cancellationToken)
    {
        DatasetInfo? dataset;
        try
        {
            dataset = await datasets.FindAsync(id, cancellationToken);
        }
        catch (Exception fault) when (fault is HttpRequestException or Polly.ExecutionRejectedException)
        {
            throw Problems.Unavailable("The dataset cannot be looked up now, because preprocessing does not answer; try again.", TimeSpan.FromSeconds(5));
        }
        return dataset switch
        {
            null => throw Problems.Invalid("datasetId", $"There is no dataset '{id}'."),
            { State: "ready", ManifestSha256: not null, Kind: not null, Task: not null } => dataset,
            { State: "failed" or "cancelled" } => throw Problems.Conflict($"Dataset '{id}' was never prepared ({dataset.State}); upload it again."),
            _ => throw Problems.Conflict($"Dataset '{id}' is {dataset.State}; wait until its job has succeeded."),
        };
    }
}
