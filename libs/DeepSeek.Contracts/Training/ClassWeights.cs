using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Contracts.Training;

/// <summary>Weights of the classes in the loss: none, balanced (rows / (classes · rows of the class)) or given one by one.</summary>
[JsonConverter(typeof(ClassWeightsConverter))]
public sealed record ClassWeights
{
    private ClassWeights(bool balanced, IReadOnlyDictionary<string, double>? values)
    {
        IsBalanced = balanced;
        Values = values;
    }

    /// <summary>All classes count alike.</summary>
    public static ClassWeights None { get; } = new(false, null);

    /// <summary>Each class counts alike in sum, however many rows it has.</summary>
    public static ClassWeights Balanced { get; } = new(true, null);

    /// <summary>Weights are derived from the rows of each class.</summary>
    public bool IsBalanced { get; }

    /// <summary>Weight by class, or null; a class not named has weight 1.</summary>
    public IReadOnlyDictionary<string, double>? Values { get; }

    /// <summary>Weights given one by one.</summary>
    public static ClassWeights Of(IReadOnlyDictionary<string, double> values) => new(false, values);
}

internal sealed class ClassWeightsConverter : JsonConverter<ClassWeights>
{
    public override ClassWeights Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
        {
            return reader.GetString() switch
            {
                "none" => ClassWeights.None,
                "balanced" => ClassWeights.Balanced,
                _ => throw new JsonException("""Write "none", "balanced" or an object from class to weight."""),
            };
        }
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException("""Write "none", "balanced" or an object from class to weight.""");
        }
        var values = new Dictionary<string, double>(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.Number || !values.TryAdd(name, reader.GetDouble()))
            {
                throw new JsonException($"The weight of class \"{name}\" is not one number.");
            }
        }
        return ClassWeights.Of(values);
    }

    public override void Write(Utf8JsonWriter writer, ClassWeights value, JsonSerializerOptions options)
    {
        if (value.Values is null)
        {
            writer.WriteStringValue(value.IsBalanced ? "balanced" : "none");
            return;
        }
        writer.WriteStartObject();
        foreach (var (name, weight) in value.Values)
        {
            writer.WriteNumber(name, weight);
        }
        writer.WriteEndObject();
    }
}
