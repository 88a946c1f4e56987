using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>A training run and where it stands.</summary>
public sealed record Run
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }
    public string Name { get; init; } = "";
    public string ModelName { get; init; } = "";
    public string Owner { get; init; } = "";
    public Guid DatasetId { get; init; }
    public string? DatasetManifestSha256 { get; init; }
    public string State { get; init; } = "";
    public string? Error { get; init; }

    /// <summary>Where and how it computes, once its trainer has decided.</summary>
    public RunCompute? Compute { get; init; }

    /// <summary>Final metrics on the test split.</summary>
    public IReadOnlyDictionary<string, double>? Metrics { get; init; }

    /// <summary>The model's files, once it is trained.</summary>
    public IReadOnlyList<ModelArtifact>? Artifacts { get; init; }

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? StartedAt { get; init; }
    public DateTimeOffset? EndedAt { get; init; }
}

/// <summary>How a run computes.</summary>
/// <param name="Device">cpu, or the GPU as its machine numbers it: cuda:0.</param>
/// <param name="DeviceName">Product.</param>
/// <param name="Precision">fp32, bf16 or fp16.</param>
/// <param name="Captured">Whether steps are replayed from a recording.</param>
/// <param name="Recomputed">Segments of the net whose activations are dropped and computed again.</param>
/// <param name="Reasons">Why each of these was chosen.</param>
public sealed record RunCompute(
    string Device, string DeviceName, string Precision, bool Captured, IReadOnlyList<string>? Recomputed = null, IReadOnlyList<string>? Reasons = null)
{
    /// <summary>What limited it and what other devices would make of it; once trained.</summary>
    public HardwareAdvice? Advice { get; init; }
}

/// <summary>What limited a run and which of the platform's rated devices would do it faster.</summary>
/// <param name="Limit">data, calls, arithmetic or memory; null when nothing rated or measured explains a quarter of the time.</param>
/// <param name="Share">The largest share of a rated ceiling that its steps reached, 0 to 1; null when its device is not rated.</param>
/// <param name="Expected">The other rated devices, the fastest first.</param>
/// <param name="Sentences">All that for people.</param>
public sealed record HardwareAdvice(string? Limit, double? Share, IReadOnlyList<ExpectedDevice> Expected, IReadOnlyList<string> Sentences);

/// <summary>What another device would be expected to make of a run's steps.</summary>
/// <param name="Host">Its machine.</param>
/// <param name="Device">cpu or cuda:0.</param>
/// <param name="Name">Product.</param>
/// <param name="Speedup">Time of a step here over the expected time there.</param>
/// <param name="Fits">Whether its memory holds what a step needs; null when either is unknown.</param>
public sealed record ExpectedDevice(string Host, string Device, string Name, double Speedup, bool? Fits);

/// <summary>One point of a run's metric series.</summary>
public sealed record MetricPoint(string Name, long Step, double? Value, int? Epoch = null, DateTimeOffset? At = null);

/// <summary>Training runs: <c>/api/v1/runs</c>. A run spec is a JSON document of format <c>deepseek.run/1</c>.</summary>
public sealed class RunsClient
{
    private readonly ApiTransport _api;
    internal RunsClient(ApiTransport api) => _api = api;

    /// <summary>Starts a run; <paramref name="spec"/> is any object that serialises to a run spec.</summary>
    public Task<Run> CreateAsync(object spec, CancellationToken cancellationToken = default) => _api.SendAsync<Run>(HttpMethod.Post, "api/v1/runs", spec, cancellationToken);

    public IAsyncEnumerable<Run> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<Run>("api/v1/runs", cancellationToken);

    public Task<Run> GetAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<Run>($"api/v1/runs/{id}", cancellationToken);

    public IAsyncEnumerable<MetricPoint> GetMetricsAsync(Guid id, CancellationToken cancellationToken = default) => _api.ListAsync<MetricPoint>($"api/v1/runs/{id}/metrics", cancellationToken);

    /// <summary>The trace of a run whose spec asked for one: a document of format <c>deepseek.trace/1</c>.</summary>
    public Task<JsonElement> GetTraceAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<JsonElement>($"api/v1/runs/{id}/trace", cancellationToken);

    /// <summary>The same event by event, for chrome://tracing and Perfetto.</summary>
    public async Task CopyTraceEventsAsync(Guid id, Stream destination, CancellationToken cancellationToken = default)
    {
        using var response = await _api.SendAsync(() => new HttpRequestMessage(HttpMethod.Get, $"api/v1/runs/{id}/trace?format=chrome"), cancellationToken);
        await response.Content.CopyToAsync(destination, cancellationToken);
    }
}
