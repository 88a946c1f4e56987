using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Training.Runs;

/// <summary>The reply to a new run.</summary>
public sealed record RunAccepted(Guid Id, Guid JobId, SubjectState State);

/// <summary>A run as clients read it.</summary>
/// <param name="Compute">Device, precision and the like as the trainer decided them, once it has.</param>
/// <param name="Metrics">On the test split, once succeeded.</param>
public sealed record RunView(
    Guid Id, Guid JobId, string Name, string ModelName, string Owner, Guid DatasetId, string DatasetManifestSha256, SubjectState State,
    string? Error, RunCompute? Compute, IReadOnlyDictionary<string, double>? Metrics, IReadOnlyList<Artifact>? Artifacts, JsonElement Spec,
    DateTimeOffset CreatedAt, DateTimeOffset? StartedAt, DateTimeOffset? EndedAt)
{
    public static RunView Of(Run run) => new(
        run.Id, run.JobId, run.Name, run.ModelName, run.Owner, run.DatasetId, run.DatasetManifestSha256, run.State, run.Error,
        Read<RunCompute>(run.Compute), Read<Dictionary<string, double>>(run.Metrics), Read<Artifact[]>(run.Artifacts), Read<JsonElement>(run.Spec),
        run.CreatedAt, run.StartedAt, run.EndedAt);

    private static T? Read<T>(string? json) => json is null ? default : JsonSerializer.Deserialize<T>(json, PlatformJson.Options);
}

/// <summary>One point of a run's series: <c>loss</c> of training, and <c>validation.accuracy</c> and the like once an epoch.</summary>
public sealed record MetricView(string Name, long Step, int Epoch, double Value, DateTimeOffset At)
{
    public static MetricView Of(RunMetric metric) => new(metric.Name, metric.Step, metric.Epoch, metric.Value, metric.At);
}
