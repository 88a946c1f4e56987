using System.Linq.Expressions;
using System.Text.Json;
using DeepSeek.Data;

namespace DeepSeek.Preprocessing.Datasets;

/// <summary>The reply to an upload.</summary>
internal sealed record DatasetAccepted(Guid Id, Guid JobId, DatasetState State);

/// <summary>A dataset as clients see it.</summary>
internal sealed record DatasetView
{
    public required Guid Id { get; init; }
    public required string Name { get; init; }
    public required string Owner { get; init; }
    public required DatasetState State { get; init; }
    public required Guid JobId { get; init; }
    public required DatasetSource Source { get; init; }
    public required JsonElement Spec { get; init; }

    /// <summary>Why it failed; null otherwise.</summary>
    public DatasetProblem? Problem { get; init; }

    /// <summary>The dataset's hash, once ready.</summary>
    public string? ManifestSha256 { get; init; }
    public long? Rows { get; init; }
    public string? Kind { get; init; }
    public string? Task { get; init; }
    public DatasetSummary? Summary { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>What a list reads: all that <see cref="Of"/> shows, without the profile.</summary>
    public static Expression<Func<Dataset, Dataset>> Row { get; } = d => new Dataset
    {
        Id = d.Id,
        Name = d.Name,
        Owner = d.Owner,
        State = d.State,
        JobId = d.JobId,
        Spec = d.Spec,
        SourceName = d.SourceName,
        SourceSha256 = d.SourceSha256,
        SourceBytes = d.SourceBytes,
        ProblemField = d.ProblemField,
        Error = d.Error,
        ManifestSha256 = d.ManifestSha256,
        Manifest = d.Manifest,
        Rows = d.Rows,
        Kind = d.Kind,
        Task = d.Task,
        CreatedAt = d.CreatedAt,
        UpdatedAt = d.UpdatedAt,
    };

    public static DatasetView Of(Dataset dataset) => new()
    {
        Id = dataset.Id,
        Name = dataset.Name,
        Owner = dataset.Owner,
        State = dataset.State.Shown(),
        JobId = dataset.JobId,
        Source = new DatasetSource(dataset.SourceName, dataset.SourceSha256, dataset.SourceBytes),
        Spec = JsonDocument.Parse(dataset.Spec).RootElement,
        Problem = dataset.Error is null ? null : new DatasetProblem(dataset.ProblemField, dataset.Error),
        ManifestSha256 = dataset.ManifestSha256,
        Rows = dataset.Rows,
        Kind = dataset.Kind,
        Task = dataset.Task,
        Summary = dataset.Manifest is null ? null : DatasetSummary.Of(DatasetManifest.Parse(System.Text.Encoding.UTF8.GetBytes(dataset.Manifest))),
        CreatedAt = dataset.CreatedAt,
        UpdatedAt = dataset.UpdatedAt,
    };
}

/// <param name="Field">The part of spec or file at fault, when one is.</param>
/// <param name="Detail">Fault and remedy.</param>
internal sealed record DatasetProblem(string? Field, string Detail);

/// <summary>The manifest in short.</summary>
internal sealed record DatasetSummary(
    string Target, IReadOnlyList<string> Classes, int Inputs, IReadOnlyList<int> FeatureShape, IReadOnlyDictionary<string, long> Splits, JsonElement? Privacy)
{
    public static DatasetSummary Of(DatasetManifest manifest) => new(
        manifest.Target, manifest.Classes, manifest.Inputs.Count, manifest.FeatureShape, manifest.Splits.ToDictionary(s => s.Key, s => s.Value.Rows), manifest.Privacy);
}
