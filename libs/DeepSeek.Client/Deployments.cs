using System.Net;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Client;

/// <summary>What to serve under a deployment's name.</summary>
public sealed record DeploymentSpec
{
    public required string Model { get; init; }

    /// <summary>Alias to follow, or a version number to stay on.</summary>
    public required string Ref { get; init; }

    public int? MaxBatch { get; init; }
    public double? MaxDelayMs { get; init; }
    public int? MaxQueue { get; init; }
}

/// <summary>A deployment and the versions it serves.</summary>
public sealed record Deployment
{
    public string Name { get; init; } = "";
    public string Model { get; init; } = "";
    public string Ref { get; init; } = "";

    /// <summary>False after an unload: known, but served by no replica.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary><c>ready</c>: every living replica serves <see cref="TargetVersion"/> and nothing else; <c>rolling</c>, <c>failed</c>, <c>disabled</c>.</summary>
    public string State { get; init; } = "";

    /// <summary>The version that <see cref="Ref"/> points to; null when it points to none.</summary>
    public int? TargetVersion { get; init; }

    public int MaxBatch { get; init; }
    public double MaxDelayMs { get; init; }
    public int MaxQueue { get; init; }

    /// <summary>What the replica that answered holds.</summary>
    public IReadOnlyList<DeployedVersion> Versions { get; init; } = [];

    /// <summary>
    /// What the version that the answering replica serves attends with: <c>blockSparse</c> or <c>dense</c>, which a block-sparse model is computed with
    /// where the platform's operators are missing; null for models without attention.
    /// </summary>
    public string? Attention { get; init; }

    /// <summary>What is wrong with the reference or the loading; null when nothing is.</summary>
    public string? Error { get; init; }

    /// <summary>What every living replica holds, as it said last.</summary>
    public IReadOnlyList<DeploymentReplica> Replicas { get; init; } = [];

    public DateTimeOffset UpdatedAt { get; init; }
}

/// <summary>One process that serves.</summary>
public sealed record DeploymentReplica(string Replica, IReadOnlyList<DeployedVersion> Versions);

/// <summary>A version on a replica: <c>loading</c>, <c>ready</c> or <c>failed</c>, and what it attends with there (see <see cref="Deployment.Attention"/>).</summary>
public sealed record DeployedVersion(int Version, string State, string? Error = null, string? Attention = null);

/// <summary>Predictions for a batch of rows; one id a row.</summary>
public sealed record PredictionReply(IReadOnlyList<string> PredictionIds, string Model, int Version, IReadOnlyList<PredictedRow> Predictions);

/// <summary>A class with its probabilities, or a number.</summary>
public sealed record PredictedRow(string? Label = null, IReadOnlyDictionary<string, double?>? Probabilities = null, double? Prediction = null);

/// <summary>What a language model is to write; members left null take the platform's defaults.</summary>
public sealed record GenerationSpec
{
    /// <summary>Text to go on from; empty begins a document.</summary>
    public string Prompt { get; init; } = "";

    /// <summary>Tokens at most, 1 to 4096 (128).</summary>
    public int? MaxTokens { get; init; }

    /// <summary>0 takes the most probable token each time, 1 draws as the model says (1).</summary>
    public double? Temperature { get; init; }

    /// <summary>Draws among so many most probable tokens; 0 among all (0).</summary>
    public int? TopK { get; init; }

    /// <summary>Equal seeds give equal texts.</summary>
    public long? Seed { get; init; }

    [JsonInclude]
    internal bool? Stream { get; init; }
}

/// <summary>A part of a text that is being written: whole characters, and with the last one the whole reply.</summary>
public sealed record GenerationPart(string Text, GenerationReply? Reply = null);

/// <summary>What it wrote, without the prompt; it finished with the <c>document</c> or at the <c>length</c> that was asked for.</summary>
public sealed record GenerationReply(string PredictionId, string Model, int Version, string Text, int Tokens, string FinishReason, long Seed);

/// <summary>Deployments: <c>/api/v1/deployments</c>.</summary>
public sealed class DeploymentsClient
{
    private readonly ApiTransport _api;
    internal DeploymentsClient(ApiTransport api) => _api = api;

    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(200);

    /// <summary>
    /// Creates or changes a deployment. The reply's state tells whether every replica follows already; <see cref="WaitAsync"/> waits for it.
    /// </summary>
    public Task<Deployment> PutAsync(string name, DeploymentSpec spec, CancellationToken cancellationToken = default) =>
        _api.SendAsync<Deployment>(HttpMethod.Put, Path(name), spec, cancellationToken);

    /// <summary>
    /// Waits until every living replica serves what the deployment's reference points to, also after an alias has moved; ends too when that
    /// cannot be (<c>failed</c>, <c>disabled</c>), which the result's state tells.
    /// </summary>
    public async Task<Deployment> WaitAsync(string name, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            var deployment = await GetAsync(name, cancellationToken).ConfigureAwait(false);
            if (deployment.State != "rolling")
            {
                return deployment;
            }

            await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
        }
    }

    public IAsyncEnumerable<Deployment> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<Deployment>("api/v1/deployments", cancellationToken);
    public Task<Deployment> GetAsync(string name, CancellationToken cancellationToken = default) => _api.GetAsync<Deployment>(Path(name), cancellationToken);
    public Task DeleteAsync(string name, CancellationToken cancellationToken = default) => _api.SendAsync(HttpMethod.Delete, Path(name), null, cancellationToken);

    /// <summary>Predicts raw rows by column name; null is a missing value.</summary>
    public Task<PredictionReply> PredictAsync(string name, IReadOnlyList<IReadOnlyDictionary<string, object?>> rows, CancellationToken cancellationToken = default) =>
        _api.SendAsync<PredictionReply>(HttpMethod.Post, $"{Path(name)}/predict", new { rows }, cancellationToken);

    /// <summary>Predicts raw rows given as JSON objects.</summary>
    public Task<PredictionReply> PredictAsync(string name, IReadOnlyList<JsonElement> rows, CancellationToken cancellationToken = default) =>
        _api.SendAsync<PredictionReply>(HttpMethod.Post, $"{Path(name)}/predict", new { rows }, cancellationToken);

    /// <summary>Has a language model write on behind a prompt.</summary>
    public Task<GenerationReply> GenerateAsync(string name, GenerationSpec spec, CancellationToken cancellationToken = default) =>
        _api.SendAsync<GenerationReply>(HttpMethod.Post, $"{Path(name)}/generate", spec, cancellationToken);

    /// <summary>
    /// The same, part by part as it is written. A stream is not repeated when it breaks: what had come of it is the beginning of one text, and
    /// another try might write another.
    /// </summary>
    /// <exception cref="DeepSeekApiException">The request is refused, or the model fails on the way.</exception>
    /// <exception cref="IOException">The stream ended before the text did.</exception>
    public async IAsyncEnumerable<GenerationPart> StreamAsync(string name, GenerationSpec spec, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var text = new StringBuilder();
        using var response = await _api.SendAsync(
            () => new HttpRequestMessage(HttpMethod.Post, $"{Path(name)}/generate") { Content = JsonContent.Create(spec with { Stream = true }, options: ApiTransport.Json) },
            cancellationToken).ConfigureAwait(false);
        await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        await foreach (var item in SseParser.Create(stream).EnumerateAsync(cancellationToken).ConfigureAwait(false))
        {
            if (item.Data == "[DONE]")
            {
                yield break;
            }

            var part = JsonSerializer.Deserialize<JsonElement>(item.Data);
            if (part.TryGetProperty("error", out var error))
            {
                throw new DeepSeekApiException((HttpStatusCode)error.GetProperty("status").GetInt32(), error.GetProperty("message").GetString()!);
            }

            text.Append(part.GetProperty("text").GetString());
            yield return new GenerationPart(
                part.GetProperty("text").GetString()!,
                part.TryGetProperty("finishReason", out _) ? part.Deserialize<GenerationReply>(ApiTransport.Json)! with { Text = text.ToString() } : null);
        }

        throw new IOException("The stream ended before the text did.");
    }

    private static string Path(string name) => $"api/v1/deployments/{Uri.EscapeDataString(name)}";
}

/// <summary>Predictions that were made: <c>/api/v1/predictions</c>.</summary>
public sealed class PredictionsClient
{
    private readonly ApiTransport _api;
    internal PredictionsClient(ApiTransport api) => _api = api;

    public Task<JsonElement> GetAsync(string id, CancellationToken cancellationToken = default) => _api.GetAsync<JsonElement>($"api/v1/predictions/{Uri.EscapeDataString(id)}", cancellationToken);

    /// <summary>From the prediction over model version, run and dataset to the source's hash.</summary>
    public Task<JsonElement> GetLineageAsync(string id, CancellationToken cancellationToken = default) =>
        _api.GetAsync<JsonElement>($"api/v1/predictions/{Uri.EscapeDataString(id)}/lineage", cancellationToken);
}
