using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>The trace of a run whose spec asked for one.</summary>
internal static class RunTrace
{
    public const string Summary = "trace.json";
    public const string Events = "trace-events.json";

    public static readonly (string Name, string MediaType)[] Files = [(Summary, "application/json"), (Events, "application/json")];

    /// <summary>The trace added up, or with <c>?format=chrome</c> event by event for chrome://tracing and Perfetto.</summary>
    public static async Task<FileStreamHttpResult> GetAsync(Guid id, TrainingDb db, BlobClient blobs, CancellationToken cancellationToken, string? format = null)
    {
        var name = format switch
        {
            null or "json" => Summary,
            "chrome" => Events,
            _ => throw Problems.Invalid("format", $"'{format}' is no format of a trace; there are json and chrome."),
        };
        var run = await db.Runs.AsNoTracking().SingleOrDefaultAsync(row => row.Id == id, cancellationToken) ?? throw Problems.NotFound("run", id);
        var artifacts = run.Artifacts is null ? [] : JsonSerializer.Deserialize<Artifact[]>(run.Artifacts, PlatformJson.Options)!;
        var artifact = artifacts.FirstOrDefault(a => a.Name == name)
            ?? throw Problems.NotFound(run.Artifacts is null ? "trace of the run, which has not succeeded yet," : "trace of the run, whose spec names none,", id);
        return TypedResults.Stream(await blobs.OpenAsync(artifact.Sha256, cancellationToken), "application/json", format == "chrome" ? $"run-{id}-trace.json" : null);
    }
}
