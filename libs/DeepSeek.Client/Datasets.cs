using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Client;

/// <summary>What to make of uploaded data; members left null take the platform's defaults.</summary>
public sealed record DatasetSpec
{
    public required string Name { get; init; }

    /// <summary><c>csv</c>, <c>jsonl</c>, <c>parquet</c>, <c>idx</c> or <c>imageZip</c>.</summary>
    public required string Format { get; init; }

    public string? Target { get; init; }

    /// <summary><c>classification</c> or <c>regression</c>, inferred from the target by default; <c>languageModeling</c> learns the target's texts.</summary>
    public string? Task { get; init; }

    /// <summary>Of language modelling.</summary>
    public DatasetTextSpec? Text { get; init; }

    /// <summary>Overrides of inferred columns, by name.</summary>
    public IReadOnlyDictionary<string, DatasetColumn>? Columns { get; init; }

    public DatasetCsvSpec? Csv { get; init; }
    public DatasetSplitSpec? Split { get; init; }
    public DatasetPrivacySpec? Privacy { get; init; }
    public DatasetMissingSpec? Missing { get; init; }

    /// <summary><c>standard</c>, <c>minMax</c> or <c>none</c>.</summary>
    public string? Scaling { get; init; }

    /// <summary>Most categories of one column that get a feature of their own, 2 to 1000.</summary>
    public int? MaxCategories { get; init; }

    public int? Priority { get; init; }
}

/// <summary>Type (<c>numeric</c>, <c>categorical</c>, <c>boolean</c>, <c>dateTime</c>, <c>text</c>, <c>image</c>) and role (<c>feature</c>, <c>target</c>, <c>ignore</c>, <c>group</c>, <c>time</c>, <c>id</c>) of a column.</summary>
/// <param name="Type">Null to infer it.</param>
/// <param name="Role">Null for a feature, or the target the spec names.</param>
/// <param name="Missing"><c>median</c>, <c>mean</c>, <c>mode</c> or <c>constant</c>.</param>
/// <param name="Fill">The constant.</param>
/// <param name="Scaling"><c>standard</c>, <c>minMax</c> or <c>none</c>.</param>
public sealed record DatasetColumn(string? Type = null, string? Role = null, string? Missing = null, string? Fill = null, string? Scaling = null);

/// <summary>How rows are divided; fractions add up to 1.</summary>
public sealed record DatasetSplitSpec
{
    /// <summary><c>stratified</c>, <c>random</c>, <c>grouped</c> or <c>time</c>.</summary>
    public string? Method { get; init; }
    public string? Column { get; init; }
    public double? Train { get; init; }
    public double? Validation { get; init; }
    public double? Test { get; init; }
    public int? Seed { get; init; }
}

/// <summary>What is masked: columns by name (<c>hash</c>, <c>redact</c>, <c>generalise</c>, <c>keep</c>) and whatever is detected.</summary>
public sealed record DatasetPrivacySpec(bool? Detect = null, IReadOnlyDictionary<string, string>? Columns = null);

/// <summary>How a CSV file is written; members left null are found out or take the usual.</summary>
public sealed record DatasetCsvSpec(string? Delimiter = null, string? Quote = null, bool? Header = null, string? Encoding = null);

/// <summary>How texts become rows.</summary>
/// <param name="Context">Tokens of a row, 8 to 32768.</param>
public sealed record DatasetTextSpec(int? Context = null);

/// <summary>What stands for a missing value: <c>median</c>, <c>mean</c> or <c>constant</c> in numbers; <c>mode</c> or <c>constant</c> in categories.</summary>
public sealed record DatasetMissingSpec(string? Numeric = null, string? Categorical = null);

/// <summary>A dataset and where its preparation stands.</summary>
public sealed record Dataset
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }
    public string Name { get; init; } = "";
    public string Owner { get; init; } = "";
    public string State { get; init; } = "";

    /// <summary>The raw bytes that were uploaded.</summary>
    public DatasetSource? Source { get; init; }

    /// <summary>Why it failed; null otherwise.</summary>
    public DatasetProblem? Problem { get; init; }

    /// <summary>Hash of the manifest: the dataset's own hash, once it is ready.</summary>
    public string? ManifestSha256 { get; init; }

    public long? Rows { get; init; }
    public string? Kind { get; init; }
    public string? Task { get; init; }

    /// <summary>The manifest in short, once the dataset is ready.</summary>
    public JsonElement? Summary { get; init; }

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset UpdatedAt { get; init; }

    /// <summary>The problem in words.</summary>
    [JsonIgnore] public string? Error => Problem?.Detail;

    [JsonIgnore] public string? SourceSha256 => Source?.Sha256;
}

/// <summary>Uploaded bytes.</summary>
public sealed record DatasetSource(string Name, string? Sha256, long Bytes);

/// <summary>What is wrong with the data or its spec, and where.</summary>
public sealed record DatasetProblem(string? Field, string Detail);

/// <summary>A file to upload: its name and how to open it (anew for every attempt).</summary>
public sealed record UploadFile(string Name, Func<Stream> Open)
{
    /// <summary>A file on disk.</summary>
    public static UploadFile Of(string path) => new(Path.GetFileName(path), () => File.OpenRead(path));
}

/// <summary>Datasets: <c>/api/v1/datasets</c>.</summary>
public sealed class DatasetsClient
{
    private readonly ApiTransport _api;
    internal DatasetsClient(ApiTransport api) => _api = api;

    /// <summary>Uploads files and has them prepared; returns at once with the job that does it.</summary>
    /// <param name="spec">What to make of them.</param>
    /// <param name="files">The files, streamed.</param>
    /// <param name="progress">Told of the bytes sent.</param>
    /// <param name="cancellationToken">Ends the upload.</param>
    public async Task<Dataset> CreateAsync(DatasetSpec spec, IReadOnlyList<UploadFile> files, IProgress<long>? progress = null, CancellationToken cancellationToken = default)
    {
        // The boundary is part of what makes a repeat the same request.
        var (key, boundary) = (Guid.NewGuid().ToString(), $"deepseek-{Guid.NewGuid():N}");
        using var response = await _api.SendAsync(
            () =>
            {
                var form = new MultipartFormDataContent(boundary);
                form.Add(JsonContent.Create(spec, options: ApiTransport.Json), "spec");
                foreach (var file in files)
                {
                    var content = new StreamContent(new CountingStream(file.Open(), progress));
                    content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
                    form.Add(content, "file", file.Name);
                }

                var request = new HttpRequestMessage(HttpMethod.Post, "api/v1/datasets") { Content = form };
                request.Headers.Add("Idempotency-Key", key);
                return request;
            },
            cancellationToken);
        return (await response.Content.ReadFromJsonAsync<Dataset>(ApiTransport.Json, cancellationToken))!;
    }

    public IAsyncEnumerable<Dataset> ListAsync(CancellationToken cancellationToken = default) => _api.ListAsync<Dataset>("api/v1/datasets", cancellationToken);

    public Task<Dataset> GetAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<Dataset>($"api/v1/datasets/{id}", cancellationToken);

    /// <summary>Statistics of every column.</summary>
    public Task<JsonElement> GetProfileAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<JsonElement>($"api/v1/datasets/{id}/profile", cancellationToken);

    public Task<JsonElement> GetManifestAsync(Guid id, CancellationToken cancellationToken = default) => _api.GetAsync<JsonElement>($"api/v1/datasets/{id}/manifest", cancellationToken);

    public Task DeleteAsync(Guid id, CancellationToken cancellationToken = default) => _api.SendAsync(HttpMethod.Delete, $"api/v1/datasets/{id}", null, cancellationToken);
}
