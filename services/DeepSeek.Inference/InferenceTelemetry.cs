using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace DeepSeek.Inference;

internal static class InferenceTelemetry
{
    public const string Name = "DeepSeek.Inference";
    public const string DeploymentTag = "deployment";
    public const string VersionTag = "version";
    public const string OutcomeTag = "outcome";

    public static readonly ActivitySource Source = new(Name);

    private static readonly Meter Meter = new(Name);

    /// <summary>Requests, by outcome: success, fail, rejected, cancelled.</summary>
    public static readonly Counter<long> Requests =
        Meter.CreateCounter<long>("deepseek.inference.requests", "{request}");

    /// <summary>Rows of successful executions.</summary>
    public static readonly Counter<long> Rows =
        Meter.CreateCounter<long>("deepseek.inference.rows", "{row}");

    public static readonly Counter<long> Executions =
        Meter.CreateCounter<long>("deepseek.inference.executions", "{execution}");

    public static readonly Histogram<double> QueueDuration =
        Meter.CreateHistogram<double>("deepseek.inference.queue.duration", "s");

    public static readonly Histogram<double> ComputeDuration =
        Meter.CreateHistogram<double>("deepseek.inference.compute.duration", "s");

    public static readonly Histogram<long> BatchRows =
        Meter.CreateHistogram<long>("deepseek.inference.batch.rows", "{row}");

    public static readonly UpDownCounter<long> Waiting =
        Meter.CreateUpDownCounter<long>("deepseek.inference.waiting", "{request}");

    public static readonly UpDownCounter<long> LoadedVersions =
        Meter.CreateUpDownCounter<long>("deepseek.inference.loaded_versions", "{version}");

    /// <summary>Memory set aside for the keys and values of texts being written.</summary>
    public static readonly UpDownCounter<long> GenerationCache =
        Meter.CreateUpDownCounter<long>("deepseek.inference.generation.cache", "By");

    /// <summary>Log entries that found their buffer full.</summary>
    public static readonly Counter<long> PredictionsUnlogged =
        Meter.CreateCounter<long>("deepseek.inference.predictions.unlogged", "{prediction}");
}
