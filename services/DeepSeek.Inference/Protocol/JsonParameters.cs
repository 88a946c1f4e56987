using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>The parameters we act on; others are the sender's own and are skipped.</summary>
internal struct JsonParameters
{
    public long? BinaryDataSize { get; private set; }

    public bool? BinaryData { get; private set; }

    public bool? BinaryDataOutput { get; private set; }

    public bool Classification { get; private set; }

    public static JsonParameters Read(ref Utf8JsonReader reader, string owner)
    {
        var parameters = default(JsonParameters);
        if (reader.TokenType == JsonTokenType.Null)
        {
            return parameters;
        }

        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw InferenceException.BadRequest($"{owner}: 'parameters' must be an object.");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("binary_data_size"u8))
            {
                reader.Read();
                parameters.BinaryDataSize = reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var size) && size >= 0
                    ? size
                    : throw InferenceException.BadRequest(
                        $"{owner}: binary_data_size is {JsonText.Shorten(reader.ValueSpan)}; it must be a number of bytes, 0 or more.");
            }
            else if (reader.ValueTextEquals("binary_data"u8))
            {
                parameters.BinaryData = ReadFlag(ref reader, owner, "binary_data");
            }
            else if (reader.ValueTextEquals("binary_data_output"u8))
            {
                parameters.BinaryDataOutput = ReadFlag(ref reader, owner, "binary_data_output");
            }
            else
            {
                parameters.Classification |= reader.ValueTextEquals("classification"u8);
                JsonInferRequest.Skip(ref reader);
            }
        }

        return parameters;
    }

    private static bool ReadFlag(ref Utf8JsonReader reader, string owner, string name)
    {
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.True => true,
            JsonTokenType.False => false,
            _ => throw InferenceException.BadRequest($"{owner}: {name} must be true or false."),
        };
    }
}
