using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Explainability.Models;

/// <summary>What a platform model says of itself in its <c>deepseek.model</c> metadata entry.</summary>
public sealed record ModelMetadata
{
    /// <summary>Name of the metadata entry in the ONNX file.</summary>
    public const string Key = "deepseek.model";

    /// <summary><c>classification</c> or <c>regression</c>.</summary>
    [JsonRequired] public string Task { get; init; } = "";

    /// <summary>Class names in the order of the columns of <c>probabilities</c>; empty for regression.</summary>
    public IReadOnlyList<string> Classes { get; init; } = [];

    /// <summary>True when the model tells classes apart.</summary>
    [JsonIgnore] public bool IsClassifier => Task == "classification";

    /// <summary>Reads the entry.</summary>
    /// <exception cref="InvalidDataException">The model has no such entry or it is damaged.</exception>
    public static ModelMetadata Parse(IReadOnlyDictionary<string, string> entries)
    {
        if (!entries.TryGetValue(Key, out var json))
        {
            throw new InvalidDataException($"The model carries no '{Key}' metadata, so its task and classes are unknown. Register a model trained by the platform or add the entry.");
        }

        try
        {
            return JsonSerializer.Deserialize<ModelMetadata>(json, JsonSerializerOptions.Web)!;
        }
        catch (JsonException fault)
        {
            throw new InvalidDataException($"The model's '{Key}' metadata is not valid: {fault.Message}", fault);
        }
    }
}
