using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Data;

/// <summary>
/// What a prepared dataset is: its inputs, its feature pipeline and the hashes of all its bytes. The SHA-256 of the manifest's
/// own bytes is the dataset's hash, so whatever changes in the data changes it.
/// </summary>
public sealed record DatasetManifest
{
    /// <summary>The only format written and read.</summary>
    public const string CurrentFormat = "deepseek.dataset/1";

    [JsonRequired] public string Format { get; init; } = CurrentFormat;
    [JsonRequired] public Guid Id { get; init; }
    [JsonRequired] public string Name { get; init; } = "";

    /// <summary><c>tabular</c>, <c>image</c> or <c>text</c>.</summary>
    [JsonRequired] public string Kind { get; init; } = "";

    /// <summary><c>classification</c>, <c>regression</c> or <c>languageModeling</c>.</summary>
    [JsonRequired] public string Task { get; init; } = "";

    /// <summary>Name of the column that is learned.</summary>
    public string Target { get; init; } = "";

    /// <summary>Class names; a target's value in the shards is an index into them. Empty for regression; of text, the names of the tokens.</summary>
    public IReadOnlyList<string> Classes { get; init; } = [];

    /// <summary>Rows of all splits.</summary>
    public long Rows { get; init; }

    /// <summary>Seed of the split and the samples.</summary>
    public int Seed { get; init; }

    /// <summary>Raw inputs of the pipeline and so of every model trained on this dataset, in order.</summary>
    [JsonRequired] public IReadOnlyList<DatasetInput> Inputs { get; init; } = [];

    /// <summary>Names of the features, row-major over <see cref="FeatureShape"/>; empty for images and text.</summary>
    public IReadOnlyList<string> FeatureNames { get; init; } = [];

    /// <summary>Shape of one row's features: [F], [C, H, W] for images, or [tokens] for text.</summary>
    [JsonRequired] public IReadOnlyList<int> FeatureShape { get; init; } = [];

    /// <summary>pipeline.onnx: raw inputs → <c>features</c>.</summary>
    [JsonRequired] public DatasetBlob Pipeline { get; init; } = new("", 0);

    /// <summary>By name: <c>train</c>, <c>validation</c>, <c>test</c>.</summary>
    [JsonRequired] public IReadOnlyDictionary<string, DatasetSplit> Splits { get; init; } = new Dictionary<string, DatasetSplit>();

    /// <summary>The profile of the columns, JSON.</summary>
    public DatasetBlob? Profile { get; init; }

    /// <summary>The uploaded bytes, which are not kept: name, hash, size.</summary>
    public DatasetSource? Source { get; init; }

    /// <summary>Every column with its type and role, also those no model sees.</summary>
    public JsonElement? Schema { get; init; }

    /// <summary>How the rows were split.</summary>
    public JsonElement? Split { get; init; }

    /// <summary>What was masked, and why.</summary>
    public JsonElement? Privacy { get; init; }

    public DateTimeOffset CreatedAt { get; init; }

    [JsonIgnore] public bool IsImage => Kind == "image";
    [JsonIgnore] public bool IsText => Kind == "text";
    [JsonIgnore] public bool IsClassification => Task == "classification";

    /// <summary>The bytes to store and hash: UTF-8 JSON, members in declared order, no white space.</summary>
    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, s_json);

    /// <summary>Reads a manifest.</summary>
    /// <exception cref="InvalidDataException">It is no manifest, or of a format this version does not know.</exception>
    public static DatasetManifest Parse(ReadOnlySpan<byte> json)
    {
        DatasetManifest? manifest;
        try
        {
            manifest = JsonSerializer.Deserialize<DatasetManifest>(json, s_json);
        }
        catch (JsonException fault)
        {
            throw new InvalidDataException($"The dataset manifest is not valid: {fault.Message}", fault);
        }

        return manifest?.Format == CurrentFormat
            ? manifest
            : throw new InvalidDataException($"The dataset manifest is of format '{manifest?.Format}', known is '{CurrentFormat}'. Prepare the dataset again.");
    }

    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };
}

/// <summary>One raw input: its name, its column type (<c>numeric</c>, <c>boolean</c>, <c>dateTime</c>, <c>categorical</c>, <c>image</c>, <c>text</c>), and its tensor's data type (<c>FP64</c>, <c>BYTES</c>, <c>UINT8</c>, <c>INT64</c>) and shape (−1 = rows; of text also tokens).</summary>
public sealed record DatasetInput(string Name, string Type, string Datatype, IReadOnlyList<int> Shape);

/// <summary>Bytes in the blob store.</summary>
public sealed record DatasetBlob(string Sha256, long Bytes);

/// <summary>One training shard.</summary>
public sealed record DatasetShard(string Sha256, long Bytes, int Rows);

/// <summary>A seeded sample of a split's raw rows, gzip JSON Lines.</summary>
public sealed record DatasetSample(string Sha256, long Bytes, int Rows);

/// <summary>One split; images and text have no sample, their shards are raw already.</summary>
public sealed record DatasetSplit(long Rows, IReadOnlyList<DatasetShard> Shards, DatasetSample? Sample);

/// <summary>What was uploaded.</summary>
public sealed record DatasetSource(string Name, string Sha256, long Bytes);
