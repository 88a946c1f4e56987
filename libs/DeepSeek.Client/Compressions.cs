using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>How to compress a model version.</summary>
public sealed record CompressionSpec
{
    public required string ModelName { get; init; }

    /// <summary>Version number or alias.</summary>
    public required string Version { get; init; }

    /// <summary><c>int8Static</c>.</summary>
    public string Method { get; init; } = "int8Static";

    public CalibrationSpec? Calibration { get; init; }

    /// <summary>One weight scale per output channel.</summary>
    public bool? PerChannel { get; init; }

    /// <summary>Keep each channel's mean output.</summary>
    public bool? BiasCorrection { get; init; }

    /// <summary>7-bit weights for CPUs without VNNI; by default where the worker's CPU lacks it.</summary>
    public bool? ReduceRange { get; init; }

    public AccuracyBudget? Budget { get; init; }
    public int? Priority { get; init; }
}

/// <summary>Method <c>minMax</c> or <c>entropy</c>; at most 512 samples.</summary>
public sealed record CalibrationSpec(string? Method = null, int? Samples = null, string? Split = null);

/// <summary>
/// A candidate that loses more than <paramref name="MaxDrop"/> (absolute) of the metric is refused; without a metric the platform takes the
/// one that suits the model's task.
/// </summary>
public sealed record AccuracyBudget(string? Metric, double MaxDrop);

/// <summary>A compression and, at its end, its report.</summary>
public sealed record Compression
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }
    public string ModelName { get; init; } = "";
    public int ParentVersion { get; init; }
    public string Owner { get; init; } = "";

    /// <summary>Among them <c>refused</c>: over the budget, with its numbers in the report.</summary>
    public string State { get; init; } = "";

    public string? Error { get; init; }
    public JsonElement? Report { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? EndedAt { get; init; }
}

/// <summary>Compressions: <c>/api/v1/compressions</c>.</summary>
public sealed class CompressionsClient
{
    private readonly ApiTransport _api;
    internal CompressionsClient(ApiTransport api) => _api = api;

    public Task<Compression> CreateAsync(CompressionSpec spec, CancellationToken cancellationToken = default) => _api.SendAsync<Compression>(HttpMethod.Post, "api/v1/compressions", spec, cancellationToken);
    public IAsyncEnumerable<Compression> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<Compression>("api/v1/compressions", cancellationToken);
    public Task<Compression> GetAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<Compression>($"api/v1/compressions/{id}", cancellationToken);
}
