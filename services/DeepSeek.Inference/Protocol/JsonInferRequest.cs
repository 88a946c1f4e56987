using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>
/// Reads an inference request in one pass over its bytes. Members may come in any order; those the protocol does not
/// name are skipped.
/// </summary>
internal static class JsonInferRequest
{
    /// <summary>Deep enough for any tensor worth sending, shallow enough that nesting costs nothing.</summary>
    public const int MaxDepth = 64;

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = MaxDepth };

    /// <param name="json">The JSON part of the body.</param>
    /// <param name="binary">What follows it: the inputs' binary data, in their order.</param>
    public static InferRequest Read(ReadOnlyMemory<byte> json, ReadOnlyMemory<byte> binary)
    {
        var reader = new Utf8JsonReader(json.Span, ReaderOptions);
        try
        {
            return Read(ref reader, json, binary);
        }
        catch (JsonException fault)
        {
            throw JsonText.Fault(fault, json.Span, reader.BytesConsumed, "the strings \"NaN\", \"Infinity\", \"-Infinity\", or binary tensor data");
        }
    }

    private static InferRequest Read(ref Utf8JsonReader reader, ReadOnlyMemory<byte> json, ReadOnlyMemory<byte> binary)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw InferenceException.BadRequest("The body must be a JSON object with 'inputs'.");
        }

        string? id = null;
        List<JsonInput>? inputs = null;
        List<RequestedOutput>? outputs = null;
        var parameters = default(JsonParameters);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("id"u8))
            {
                id = ReadId(ref reader);
            }
            else if (reader.ValueTextEquals("inputs"u8))
            {
                RefuseSecond(inputs is not null, "inputs");
                inputs = ReadInputs(ref reader, json);
            }
            else if (reader.ValueTextEquals("outputs"u8))
            {
                RefuseSecond(outputs is not null, "outputs");
                outputs = ReadOutputs(ref reader);
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                reader.Read();
                parameters = JsonParameters.Read(ref reader, "The request");
            }
            else
            {
                Skip(ref reader);
            }
        }

        // The end of the object is not the end of the body: anything but white space after it is a fault.
        reader.Read();
        return new InferRequest
        {
            Id = id,
            Inputs = Attach(inputs ?? throw InferenceException.BadRequest("The request has no 'inputs'."), binary),
            Outputs = outputs,
            BinaryByDefault = parameters.BinaryDataOutput ?? false,
        };
    }

    private static string? ReadId(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.String => reader.GetString(),
            JsonTokenType.Null => null,
            _ => throw InferenceException.BadRequest("'id' must be a string."),
        };
    }

    private static List<JsonInput> ReadInputs(ref Utf8JsonReader reader, ReadOnlyMemory<byte> json)
    {
        ExpectArray(ref reader, "inputs");
        var inputs = new List<JsonInput>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var input = JsonInput.Read(ref reader, json.Span, inputs.Count);
            if (inputs.Exists(i => i.Name == input.Name))
            {
                throw InferenceException.BadRequest($"Input {JsonText.Shorten(input.Name)} is given twice.");
            }

            inputs.Add(input);
        }

        return inputs;
    }

    private static List<RequestedOutput> ReadOutputs(ref Utf8JsonReader reader)
    {
        ExpectArray(ref reader, "outputs");
        var outputs = new List<RequestedOutput>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var output = ReadOutput(ref reader, outputs.Count);
            if (outputs.Exists(o => o.Name == output.Name))
            {
                throw InferenceException.BadRequest($"Output {JsonText.Shorten(output.Name)} is asked for twice.");
            }

            outputs.Add(output);
        }

        return outputs;
    }

    private static RequestedOutput ReadOutput(ref Utf8JsonReader reader, int index)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw InferenceException.BadRequest($"outputs[{index}] must be an object with a 'name'.");
        }

        string? name = null;
        var parameters = default(JsonParameters);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("name"u8) && reader.Read() && reader.TokenType == JsonTokenType.String)
            {
                name = reader.GetString();
            }
            else if (reader.TokenType == JsonTokenType.PropertyName && reader.ValueTextEquals("parameters"u8))
            {
                reader.Read();
                parameters = JsonParameters.Read(ref reader, $"outputs[{index}]");
            }
            else
            {
                Skip(ref reader);
            }
        }

        if (parameters.Classification)
        {
            throw new InferenceException(
                StatusCodes.Status501NotImplemented,
                $"outputs[{index}] asks for the classification extension, which is not offered; sort the output yourself.");
        }

        return new(name ?? throw InferenceException.BadRequest($"outputs[{index}] has no 'name' (a string)."), parameters.BinaryData);
    }

    private static List<Tensor> Attach(List<JsonInput> inputs, ReadOnlyMemory<byte> binary)
    {
        var tensors = new List<Tensor>(inputs.Count);
        foreach (var input in inputs)
        {
            if (input.BinarySize is not { } size)
            {
                tensors.Add(new(input.Name, input.DataType, input.Shape, input.Data));
                continue;
            }

            if (size < 0 || size > binary.Length)
            {
                throw InferenceException.BadRequest(
                    $"Input {JsonText.Shorten(input.Name)}: binary_data_size is {size}, but {binary.Length} bytes of binary data are left in the body.");
            }

            var tensor = new Tensor(input.Name, input.DataType, input.Shape, binary[..(int)size]);
            BinaryTensorData.Check(tensor);
            tensors.Add(tensor);
            binary = binary[(int)size..];
        }

        return binary.IsEmpty
            ? tensors
            : throw InferenceException.BadRequest($"The body holds {binary.Length} bytes of binary data that no input claims with binary_data_size.");
    }

    private static void ExpectArray(ref Utf8JsonReader reader, string member)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw InferenceException.BadRequest($"'{member}' must be an array.");
        }
    }

    internal static void RefuseSecond(bool seen, string member)
    {
        if (seen)
        {
            throw InferenceException.BadRequest($"'{member}' is given twice.");
        }
    }

    internal static void Skip(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.PropertyName)
        {
            reader.Read();
        }

        reader.Skip();
    }
}
