using System.Net;
using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Inference.Serving;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference.Deployments;

/// <summary>What this service asks the registry.</summary>
internal sealed class RegistryClient(HttpClient http)
{
    private const string ModelFile = "model.onnx";

    /// <summary>The version a reference points to now; null when the model or the reference does not exist.</summary>
    /// <exception cref="HttpRequestException">The registry does not answer, or not as it should.</exception>
    public async Task<ServedModel?> ResolveAsync(string model, string reference, CancellationToken cancellationToken)
    {
        var path = $"api/v1/models/{Uri.EscapeDataString(model)}/resolve?ref={Uri.EscapeDataString(reference)}";
        using var response = await http.GetAsync(path, cancellationToken);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest)
        {
            return null;
        }

        response.EnsureSuccessStatusCode();
        var version = await response.Content.ReadFromJsonAsync<Version>(PlatformJson.Options, cancellationToken)
            ?? throw new HttpRequestException($"The registry answered {path} with nothing.");
        var file = version.Artifacts.FirstOrDefault(a => a.Name == ModelFile)
            ?? throw new InvalidModelException($"Version {version.Number} of model '{model}' has no {ModelFile}.");
        return new ServedModel(version.Id, model, version.Number, file.Sha256);
    }

    /// <summary>The registry's lineage document of a version, deleted or not; null when there never was one of this id.</summary>
    public async Task<JsonElement?> LineageAsync(Guid versionId, CancellationToken cancellationToken)
    {
        using var response = await http.GetAsync($"api/v1/models/versions/{versionId}/lineage", cancellationToken);
        if (response.StatusCode is HttpStatusCode.NotFound)
        {
            return null;
        }

        response.EnsureSuccessStatusCode();
        return await response.Content.ReadFromJsonAsync<JsonElement>(PlatformJson.Options, cancellationToken);
    }

    private sealed record Version
    {
        public required Guid Id { get; init; }

        [System.Text.Json.Serialization.JsonPropertyName("version")]
        public required int Number { get; init; }

        public required IReadOnlyList<Artifact> Artifacts { get; init; }
    }
}
