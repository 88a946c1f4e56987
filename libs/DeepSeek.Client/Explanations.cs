using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>What to explain; either a deployment or a model version. Members left null take the platform's defaults.</summary>
public sealed record ExplanationSpec
{
    public string? Deployment { get; init; }
    public string? ModelName { get; init; }
    public string? Version { get; init; }
    public IReadOnlyList<JsonElement>? Rows { get; init; }
    public string? Split { get; init; }
    public int? Count { get; init; }

    /// <summary><c>auto</c>, <c>exact</c>, <c>permutation</c> or <c>occlusion</c>.</summary>
    public string? Method { get; init; }

    public string? Output { get; init; }
    public ExplanationBackground? Background { get; init; }
    public ExplanationSampling? Sampling { get; init; }
    public int? Priority { get; init; }
}

/// <summary>Permutation sampling ends at this standard error or after so many antithetic pairs.</summary>
public sealed record ExplanationSampling(int MaxPairs = 50, double TargetError = 0.002);

/// <summary>Rows that stand in for absent features.</summary>
public sealed record ExplanationBackground(string Split = "train", int Rows = 100, int Seed = 0);

/// <summary>An explanation and, at its end, its report.</summary>
public sealed record Explanation
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }
    public string ModelName { get; init; } = "";
    public int ModelVersion { get; init; }
    public string State { get; init; } = "";
    public string? Error { get; init; }
    public JsonElement? Report { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
}

/// <summary>Explanations: <c>/api/v1/explanations</c>.</summary>
public sealed class ExplanationsClient
{
    private readonly ApiTransport _api;
    internal ExplanationsClient(ApiTransport api) => _api = api;

    public Task<Explanation> CreateAsync(ExplanationSpec spec, CancellationToken cancellationToken = default) => _api.SendAsync<Explanation>(HttpMethod.Post, "api/v1/explanations", spec, cancellationToken);
    public IAsyncEnumerable<Explanation> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<Explanation>("api/v1/explanations", cancellationToken);
    public Task<Explanation> GetAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<Explanation>($"api/v1/explanations/{id}", cancellationToken);

    /// <summary>The report as a self-contained HTML page.</summary>
    public async Task<string> GetHtmlAsync(Guid id, CancellationToken cancellationToken = default)
    {
        using var response = await _api.SendAsync(() => new HttpRequestMessage(HttpMethod.Get, $"api/v1/explanations/{id}/report"), cancellationToken);
        return await response.Content.ReadAsStringAsync(cancellationToken);
    }
}
