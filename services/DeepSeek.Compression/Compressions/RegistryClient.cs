using System.Net;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Compression.Compressions;

/// <summary>A model version as the registry tells it.</summary>
public sealed record RegistryVersion(string ModelName, int Version, string? DatasetManifestSha256, IReadOnlyList<Artifact> Artifacts);

/// <summary>What this service asks the registry.</summary>
public sealed class RegistryClient(HttpClient http)
{
    /// <summary>The version that a number or alias means now; null when the model or the reference does not exist.</summary>
    public async Task<RegistryVersion?> ResolveAsync(string model, string reference, CancellationToken cancellationToken)
    {
        using var response = await http.GetAsync($"/api/v1/models/{Uri.EscapeDataString(model)}/resolve?ref={Uri.EscapeDataString(reference)}", cancellationToken);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest)
            return null;
        response.EnsureSuccessStatusCode();
        return await response.Content.ReadFromJsonAsync<RegistryVersion>(PlatformJson.Options, cancellationToken);
    }
}
