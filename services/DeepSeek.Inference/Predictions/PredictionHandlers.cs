using System.Text.Json;
using DeepSeek.Inference.Data;
using DeepSeek.Inference.Deployments;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Inference.Predictions;

/// <summary>What is known of a prediction. Without a log entry (<see cref="Logged"/> false) that is its version.</summary>
internal sealed record PredictionDocument
{
    public required string Id { get; init; }

    public required int? Row { get; init; }

    public required Guid VersionId { get; init; }

    public required string Model { get; init; }

    public required int Version { get; init; }

    public required bool Logged { get; init; }

    public string? Deployment { get; init; }

    public string? Kind { get; init; }

    public int? Rows { get; init; }

    public string? Actor { get; init; }

    public double? DurationMs { get; init; }

    public DateTimeOffset? CreatedAt { get; init; }

    /// <summary>The row's prediction, or those of the request's first rows; null for tensors.</summary>
    public JsonElement? Result { get; init; }
}

/// <param name="Lineage">The registry's chain: version, parents, run, dataset's manifest, source bytes.</param>
internal sealed record PredictionLineage(PredictionDocument Prediction, JsonElement Lineage);

internal static class PredictionHandlers
{
    public static async Task<Ok<PredictionDocument>> GetAsync(string id, InferenceDb db, CancellationToken cancellationToken) =>
        TypedResults.Ok(await FindAsync(id, db, cancellationToken));

    public static async Task<Ok<PredictionLineage>> LineageAsync(
        string id, InferenceDb db, RegistryClient registry, CancellationToken cancellationToken)
    {
        var prediction = await FindAsync(id, db, cancellationToken);
        try
        {
            var lineage = await registry.LineageAsync(prediction.VersionId, cancellationToken)
                ?? throw Problems.NotFound("lineage of model version", $"{prediction.Model} {prediction.Version}");
            return TypedResults.Ok(new PredictionLineage(prediction, lineage));
        }
        catch (HttpRequestException)
        {
            throw Problems.Unavailable("The registry, which knows the lineage, does not answer; try again shortly.", TimeSpan.FromSeconds(5));
        }
    }

    private static async Task<PredictionDocument> FindAsync(string text, InferenceDb db, CancellationToken cancellationToken)
    {
        if (!PredictionId.TryParse(text, out var id))
        {
            throw Problems.NotFound("prediction", text);
        }

        var version = await db.ServedVersions.AsNoTracking().SingleOrDefaultAsync(v => v.Id == id.VersionId, cancellationToken)
            ?? throw Problems.NotFound("prediction", text);
        var entry = await db.Predictions.AsNoTracking()
            .SingleOrDefaultAsync(p => p.Id == id.RequestId && p.VersionId == id.VersionId, cancellationToken);
        if (entry is not null && id.Row >= entry.Rows)
        {
            throw Problems.NotFound("prediction", text);
        }

        return new PredictionDocument
        {
            Id = text,
            Row = id.Row,
            VersionId = version.Id,
            Model = version.Model,
            Version = version.Version,
            Logged = entry is not null,
            Deployment = entry?.Deployment,
            Kind = entry?.Kind,
            Rows = entry?.Rows,
            Actor = entry?.Actor,
            DurationMs = entry?.DurationUs / 1000.0,
            CreatedAt = entry?.CreatedAt,
            Result = Result(entry?.Results, id.Row),
        };
    }

    private static JsonElement? Result(string? results, int? row)
    {
        if (results is null)
        {
            return null;
        }

        var all = JsonElement.Parse(results);
        return row is null ? all : row < all.GetArrayLength() ? all[row.Value] : null;
    }
}
