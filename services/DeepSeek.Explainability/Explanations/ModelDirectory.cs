using System.Net;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Explainability.Explanations;

/// <summary>The version an explanation is bound to when it is asked for.</summary>
public sealed record ModelTarget(string ModelName, int Version, string ModelSha256, string DatasetManifestSha256);

/// <summary>Finds the model version behind a deployment or a reference.</summary>
public sealed class ModelDirectory(RegistryClient registry, InferenceClient inference)
{
    private const string ModelFile = "model.onnx";

    /// <summary>Resolves the spec's model.</summary>
    /// <exception cref="ApiProblem">It does not exist, or cannot be explained.</exception>
    public async Task<ModelTarget> ResolveAsync(ExplanationSpec spec, CancellationToken cancellationToken)
    {
        var (name, reference) = (spec.ModelName, spec.Version);
        if (spec.Deployment is { } deployment)
        {
            var found = await inference.FindAsync(deployment, cancellationToken)
                ?? throw Problems.Invalid("deployment", $"There is no deployment '{deployment}'.");
            (name, reference) = (found.Model, found.Ref);
        }

        var version = await registry.ResolveAsync(name!, reference!, cancellationToken)
            ?? throw Problems.Invalid(spec.Deployment is null ? "version" : "deployment", $"There is no version '{reference}' of model '{name}'.");
        var model = version.Artifacts.SingleOrDefault(artifact => artifact.Name == ModelFile)
            ?? throw Problems.Unprocessable($"Version {version.Version} of model '{name}' has no {ModelFile}.");
        return version.DatasetManifestSha256 is { } manifest
            ? new ModelTarget(version.ModelName, version.Version, model.Sha256, manifest)
            : throw Problems.Unprocessable($"Version {version.Version} of model '{name}' tells of no dataset, so there is no background to explain it against.");
    }
}

/// <summary>A model version as the registry tells it.</summary>
public sealed record RegistryVersion(string ModelName, int Version, string? DatasetManifestSha256, IReadOnlyList<RegistryArtifact> Artifacts);

/// <summary>One of its files.</summary>
public sealed record RegistryArtifact(string Name, string Sha256);

/// <summary>What this service asks the registry.</summary>
public sealed class RegistryClient(HttpClient http)
{
    public Task<RegistryVersion?> ResolveAsync(string model, string reference, CancellationToken cancellationToken) =>
        http.FindAsync<RegistryVersion>($"/api/v1/models/{Uri.EscapeDataString(model)}/resolve?ref={Uri.EscapeDataString(reference)}", cancellationToken);
}

/// <summary>A deployment as Inference tells it.</summary>
public sealed record InferenceDeployment(string Name, string Model, string Ref);

/// <summary>What this service asks Inference.</summary>
public sealed class InferenceClient(HttpClient http)
{
    public Task<InferenceDeployment?> FindAsync(string deployment, CancellationToken cancellationToken) =>
        http.FindAsync<InferenceDeployment>($"/api/v1/deployments/{Uri.EscapeDataString(deployment)}", cancellationToken);
}

internal static class HttpClientExtensions
{
    /// <summary>The resource, or null when it does not exist, or cannot because nothing is ever called so; extra members are left alone, so that peers may grow.</summary>
    public static async Task<T?> FindAsync<T>(this HttpClient http, string uri, CancellationToken cancellationToken) where T : class
    {
        using var response = await http.GetAsync(uri, cancellationToken);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest)
        {
            return null;
        }

        response.EnsureSuccessStatusCode();
        return await response.Content.ReadFromJsonAsync<T>(cancellationToken);
    }
}
