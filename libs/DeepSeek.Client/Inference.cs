using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>A tensor of the Open Inference Protocol; <see cref="Data"/> is row-major.</summary>
public sealed record InferenceTensor(string Name, IReadOnlyList<long> Shape, string Datatype, JsonElement Data);

/// <summary>An inference reply.</summary>
public sealed record InferenceReply
{
    [System.Text.Json.Serialization.JsonPropertyName("model_name")] public string ModelName { get; init; } = "";
    [System.Text.Json.Serialization.JsonPropertyName("model_version")] public string? ModelVersion { get; init; }
    public string? Id { get; init; }
    public JsonElement? Parameters { get; init; }
    public IReadOnlyList<InferenceTensor> Outputs { get; init; } = [];
}

/// <summary>The Open Inference Protocol, version 2: <c>/v2</c>.</summary>
public sealed class InferenceClient
{
    private readonly ApiTransport _api;
    internal InferenceClient(ApiTransport api) => _api = api;

    /// <summary>Inputs and outputs of a deployed model.</summary>
    public Task<JsonElement> GetMetadataAsync(string model, int? version = null, CancellationToken cancellationToken = default) =>
        _api.GetAsync<JsonElement>(Path(model, version), cancellationToken);

    /// <summary>Runs the model on the tensors.</summary>
    public Task<InferenceReply> InferAsync(string model, IReadOnlyList<InferenceTensor> inputs, int? version = null, CancellationToken cancellationToken = default) =>
        _api.SendAsync<InferenceReply>(HttpMethod.Post, $"{Path(model, version)}/infer", new { inputs }, cancellationToken);

    private static string Path(string model, int? version) =>
        $"v2/models/{Uri.EscapeDataString(model)}{(version is null ? "" : $"/versions/{version}")}";
}
