using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>A registered model.</summary>
public sealed record Model
{
    public string Name { get; init; } = "";
    public int LatestVersion { get; init; }

    /// <summary>Alias to version.</summary>
    public IReadOnlyDictionary<string, int>? Aliases { get; init; }

    public DateTimeOffset CreatedAt { get; init; }
}

/// <summary>One file of a model version.</summary>
public sealed record ModelArtifact(string Name, string Sha256, long Bytes, string MediaType);

/// <summary>Somebody's word on a version: <c>approve</c> or <c>reject</c>.</summary>
public sealed record Approval(string Actor, string Decision, string? Comment, DateTimeOffset At);

/// <summary>An immutable model version.</summary>
public sealed record ModelVersion
{
    public Guid Id { get; init; }
    public string ModelName { get; init; } = "";
    public int Version { get; init; }
    public int? ParentVersion { get; init; }
    public string Author { get; init; } = "";

    /// <summary><c>run</c>, <c>compression</c> or <c>manual</c>.</summary>
    public string SourceKind { get; init; } = "";

    public Guid? SourceId { get; init; }
    public Guid? DatasetId { get; init; }
    public string? DatasetManifestSha256 { get; init; }
    public IReadOnlyList<ModelArtifact> Artifacts { get; init; } = [];
    public IReadOnlyDictionary<string, double> Metrics { get; init; } = new Dictionary<string, double>();
    public IReadOnlyList<Approval> Approvals { get; init; } = [];
    public IReadOnlyList<string> Aliases { get; init; } = [];
    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>The file of that name.</summary>
    public ModelArtifact Artifact(string name) => Artifacts.Single(artifact => artifact.Name == name);
}

/// <summary>Models and their versions: <c>/api/v1/models</c>.</summary>
public sealed class ModelsClient
{
    private readonly ApiTransport _api;
    internal ModelsClient(ApiTransport api) => _api = api;

    public IAsyncEnumerable<Model> ListAsync(string? search = null, CancellationToken cancellationToken = default) =>
        _api.ListAsync<Model>(search is null ? "api/v1/models" : $"api/v1/models?search={Uri.EscapeDataString(search)}", cancellationToken);

    public Task<Model> GetAsync(string model, CancellationToken cancellationToken = default) => _api.GetAsync<Model>(Path(model), cancellationToken);

    public IAsyncEnumerable<ModelVersion> ListVersionsAsync(string model, CancellationToken cancellationToken = default) =>
        _api.ListAsync<ModelVersion>($"{Path(model)}/versions", cancellationToken);

    public Task<ModelVersion> GetVersionAsync(string model, int version, CancellationToken cancellationToken = default) =>
        _api.GetAsync<ModelVersion>($"{Path(model)}/versions/{version}", cancellationToken);

    /// <summary>The version a number or an alias stands for.</summary>
    public Task<ModelVersion> ResolveAsync(string model, string reference, CancellationToken cancellationToken = default) =>
        _api.GetAsync<ModelVersion>($"{Path(model)}/resolve?ref={Uri.EscapeDataString(reference)}", cancellationToken);

    /// <summary>From the version back to the bytes it learned from.</summary>
    public Task<JsonElement> GetLineageAsync(string model, int version, CancellationToken cancellationToken = default) =>
        _api.GetAsync<JsonElement>($"{Path(model)}/versions/{version}/lineage", cancellationToken);

    /// <summary>Approves a version (or rejects it); its author cannot.</summary>
    public Task ApproveAsync(string model, int version, string? comment = null, bool reject = false, CancellationToken cancellationToken = default) =>
        _api.SendAsync(HttpMethod.Post, $"{Path(model)}/versions/{version}/approvals", new { decision = reject ? "reject" : "approve", comment }, cancellationToken);

    /// <summary>
    /// Points the alias at the version. Without <paramref name="ifMatch"/> the alias is read first and moved from where it stands, so that a
    /// concurrent move is refused (412), not overwritten.
    /// </summary>
    public async Task SetAliasAsync(string model, string alias, int version, string? ifMatch = null, CancellationToken cancellationToken = default)
    {
        var path = $"{Path(model)}/aliases/{Uri.EscapeDataString(alias)}";
        if (ifMatch is null)
        {
            try
            {
                ifMatch = (await _api.GetTaggedAsync<JsonElement>(path, cancellationToken)).ETag;
            }
            catch (DeepSeekApiException missing) when (missing.Status == System.Net.HttpStatusCode.NotFound)
            {
                ifMatch = "*new*";
            }
        }

        await _api.SendAsync(HttpMethod.Put, path, new { version }, cancellationToken, ifMatch);
    }

    public async Task DeleteAliasAsync(string model, string alias, CancellationToken cancellationToken = default)
    {
        var path = $"{Path(model)}/aliases/{Uri.EscapeDataString(alias)}";
        var current = await _api.GetTaggedAsync<JsonElement>(path, cancellationToken);
        await _api.SendAsync(HttpMethod.Delete, path, null, cancellationToken, current.ETag);
    }

    public Task DeleteVersionAsync(string model, int version, CancellationToken cancellationToken = default) =>
        _api.SendAsync(HttpMethod.Delete, $"{Path(model)}/versions/{version}", null, cancellationToken);

    /// <summary>Collects blobs that nothing refers to; tells what was freed.</summary>
    public Task<JsonElement> CollectGarbageAsync(CancellationToken cancellationToken = default) =>
        _api.SendAsync<JsonElement>(HttpMethod.Post, "api/v1/registry/gc", null, cancellationToken);

    private static string Path(string model) => $"api/v1/models/{Uri.EscapeDataString(model)}";
}
