using System.Text.Json;

namespace DeepSeek.Client;

/// <summary>A registered model.</summary>
public sealed record Model
{
    public string Name { get; init; } = "";

    /// <summary>Newest version; 0 when all are deleted.</summary>
    public int LatestVersion { get; init; }

    /// <summary>How many versions there are.</summary>
    public int Versions { get; init; }

    public string CreatedBy { get; init; } = "";

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

    /// <summary><c>pending</c>, <c>approved</c> or <c>rejected</c>; <c>@production</c> takes only approved versions.</summary>
    public string ApprovalState { get; init; } = "";

    public IReadOnlyList<Approval> Approvals { get; init; } = [];
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>Where it comes from, in words.</summary>
    public string Note { get; init; } = "";

    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>Null while the version exists.</summary>
    public DateTimeOffset? DeletedAt { get; init; }

    /// <summary>The file of that name.</summary>
    public ModelArtifact Artifact(string name) => Artifacts.Single(artifact => artifact.Name == name);
}

/// <summary>A version to register by hand from blobs that are in the store; one file must be <c>model.onnx</c>.</summary>
public sealed record NewModelVersion
{
    public required IReadOnlyList<NewArtifact> Artifacts { get; init; }
    public IReadOnlyDictionary<string, double>? Metrics { get; init; }
    public int? ParentVersion { get; init; }
    public Guid? DatasetId { get; init; }
    public string? DatasetManifestSha256 { get; init; }
    public string? Note { get; init; }
}

/// <summary>A file of a version to register; the media type is by default the one it was uploaded with.</summary>
public sealed record NewArtifact(string Name, string Sha256, string? MediaType = null);

/// <summary>One move of an alias; <see cref="Version"/> is null when it was removed.</summary>
public sealed record AliasMove(string Alias, int? Version, Guid? VersionId, int? PreviousVersion, string Actor, DateTimeOffset At);

/// <summary>What an alias pointed to at a time, since when and until when, who put it there, who had decided what about it by then, and its metrics.</summary>
public sealed record AliasState(
    string Alias, DateTimeOffset At, int? Version, Guid? VersionId, string? MovedBy, DateTimeOffset? Since, DateTimeOffset? Until,
    IReadOnlyList<Approval> Approvals, IReadOnlyDictionary<string, double> Metrics);

/// <summary>Models and their versions: <c>/api/v1/models</c>.</summary>
public sealed class ModelsClient
{
    private static readonly TimeSpan s_arrival = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(200);
    private readonly ApiTransport _api;
    internal ModelsClient(ApiTransport api) => _api = api;

    public IAsyncEnumerable<Model> ListAsync(string? search = null, CancellationToken cancellationToken = default) =>
        _api.ListAsync<Model>(search is null ? "api/v1/models" : $"api/v1/models?search={Uri.EscapeDataString(search)}", cancellationToken);

    public Task<Model> GetAsync(string model, CancellationToken cancellationToken = default) => _api.GetAsync<Model>(Path(model), cancellationToken);

    public IAsyncEnumerable<ModelVersion> ListVersionsAsync(string model, CancellationToken cancellationToken = default) =>
        _api.ListAsync<ModelVersion>($"{Path(model)}/versions", cancellationToken);

    /// <summary>
    /// Waits for the version that a run or a compression made: the registry learns of it by a message just after the job has ended.
    /// </summary>
    /// <param name="source">Id of the run or compression.</param>
    /// <param name="patience">Default 30 s.</param>
    /// <exception cref="TimeoutException">It was not registered in that time.</exception>
    public async Task<ModelVersion> WaitForSourceAsync(string model, Guid source, TimeSpan? patience = null, CancellationToken cancellationToken = default)
    {
        var limit = patience ?? s_arrival;
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                await foreach (var version in ListVersionsAsync(model, cancellationToken).ConfigureAwait(false))
                {
                    if (version.SourceId == source)
                    {
                        return version;
                    }
                }
            }
            catch (DeepSeekApiException missing) when (missing.Status == System.Net.HttpStatusCode.NotFound)
            {
                // The model's first version is still on its way.
            }

            if (TimeProvider.System.GetElapsedTime(started) >= limit)
            {
                throw new TimeoutException($"No version of {model} was registered from {source} within {limit.TotalSeconds} s.");
            }

            await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
        }
    }

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

    /// <summary>All moves of the alias, newest first.</summary>
    public IAsyncEnumerable<AliasMove> ListAliasMovesAsync(string model, string alias, CancellationToken cancellationToken = default) =>
        _api.ListAsync<AliasMove>($"{Path(model)}/aliases/{Uri.EscapeDataString(alias)}/history", cancellationToken);

    /// <summary>What the alias pointed to at that time, and on whose word.</summary>
    public Task<AliasState> GetAliasAtAsync(string model, string alias, DateTimeOffset at, CancellationToken cancellationToken = default) =>
        _api.GetAsync<AliasState>($"{Path(model)}/aliases/{Uri.EscapeDataString(alias)}/history?at={Uri.EscapeDataString(at.ToUniversalTime().ToString("O"))}", cancellationToken);

    /// <summary>Registers a version by hand; upload its files with <see cref="BlobsClient.UploadAsync"/> first.</summary>
    public Task<ModelVersion> RegisterAsync(string model, NewModelVersion version, CancellationToken cancellationToken = default) =>
        _api.SendAsync<ModelVersion>(HttpMethod.Post, $"{Path(model)}/versions", version, cancellationToken);

    /// <summary>Deletes a model that has no aliases, with all its versions.</summary>
    public Task DeleteAsync(string model, CancellationToken cancellationToken = default) =>
        _api.SendAsync(HttpMethod.Delete, Path(model), null, cancellationToken);

    public Task DeleteVersionAsync(string model, int version, CancellationToken cancellationToken = default) =>
        _api.SendAsync(HttpMethod.Delete, $"{Path(model)}/versions/{version}", null, cancellationToken);

    /// <summary>Collects blobs that nothing refers to; tells what was freed.</summary>
    public Task<JsonElement> CollectGarbageAsync(CancellationToken cancellationToken = default) =>
        _api.SendAsync<JsonElement>(HttpMethod.Post, "api/v1/registry/gc", null, cancellationToken);

    private static string Path(string model) => $"api/v1/models/{Uri.EscapeDataString(model)}";
}
