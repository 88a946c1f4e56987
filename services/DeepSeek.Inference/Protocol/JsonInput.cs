using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>One element of <c>inputs</c>: its data, or the size of the binary data that carries it.</summary>
internal sealed record JsonInput(string Name, DataType DataType, long[] Shape, ReadOnlyMemory<byte> Data, long? BinarySize)
{
    public static JsonInput Read(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, int index)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw InferenceException.BadRequest($"inputs[{index}] must be an object with 'name', 'shape', 'datatype' and 'data'.");
        }

        var draft = new Draft();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            draft.ReadMember(ref reader, json.Length, index);
        }

        return draft.Finish(json, index);
    }

    private static long[] ReadShape(ref Utf8JsonReader reader, string what)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw InferenceException.BadRequest($"{what}: 'shape' must be an array of integers.");
        }

        var shape = new List<long>(4);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
            {
                throw InferenceException.BadRequest(
                    $"{what}: shape[{shape.Count}] is {JsonText.Shorten(reader.ValueSpan)}; a size is an integer, 0 or more.");
            }

            shape.Add(size);
        }

        return [.. shape];
    }

    /// <summary>Members may come in any order: data that comes before its shape or datatype is skipped, then read from where it stood.</summary>
    private ref struct Draft
    {
        private string? _name;
        private DataType? _type;
        private long[]? _shape;
        private ReadOnlyMemory<byte>? _data;
        private int _dataAt;
        private JsonParameters _parameters;

        private readonly string What(int index) => _name is null ? $"inputs[{index}]" : $"Input {JsonText.Shorten(_name)}";

        public void ReadMember(ref Utf8JsonReader reader, int available, int index)
        {
            if (reader.ValueTextEquals("name"u8))
            {
                _name = ReadString(ref reader, "name", index);
            }
            else if (reader.ValueTextEquals("datatype"u8))
            {
                var name = ReadString(ref reader, "datatype", index);
                _type = DataTypes.TryParse(name, out var type)
                    ? type
                    : throw InferenceException.BadRequest(
                        $"{What(index)}: datatype {JsonText.Shorten(name)} is unknown; known are {DataTypes.Known}.");
            }
            else if (reader.ValueTextEquals("shape"u8))
            {
                reader.Read();
                _shape = ReadShape(ref reader, What(index));
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                reader.Read();
                _parameters = JsonParameters.Read(ref reader, What(index));
            }
            else if (reader.ValueTextEquals("data"u8))
            {
                JsonInferRequest.RefuseSecond(_data is not null || _dataAt != 0, "data");
                reader.Read();
                ReadData(ref reader, available, index);
            }
            else
            {
                JsonInferRequest.Skip(ref reader);
            }
        }

        private void ReadData(ref Utf8JsonReader reader, int available, int index)
        {
            if (_type is { } type && _shape is not null && _name is not null)
            {
                _data = JsonTensorData.Read(ref reader, What(index), type, _shape, available);
                return;
            }

            _dataAt = (int)reader.TokenStartIndex;
            reader.Skip();
        }

        public readonly JsonInput Finish(ReadOnlySpan<byte> json, int index)
        {
            var name = _name ?? throw InferenceException.BadRequest($"inputs[{index}] has no 'name'.");
            var type = _type ?? throw InferenceException.BadRequest($"{What(index)} has no 'datatype'.");
            var shape = _shape ?? throw InferenceException.BadRequest($"{What(index)} has no 'shape'.");
            var hasData = _data is not null || _dataAt != 0;
            if (hasData == _parameters.BinaryDataSize is not null)
            {
                throw InferenceException.BadRequest(hasData
                    ? $"{What(index)} has both 'data' and binary_data_size; send one of them."
                    : $"{What(index)} has no 'data' and no binary_data_size.");
            }

            if (_data is null && hasData)
            {
                // An array that the first pass found whole: it starts a JSON text of its own here.
                var late = new Utf8JsonReader(json[_dataAt..], isFinalBlock: false, new(new() { MaxDepth = JsonInferRequest.MaxDepth }));
                late.Read();
                return new(name, type, shape, JsonTensorData.Read(ref late, What(index), type, shape, json.Length - _dataAt), null);
            }

            return new(name, type, shape, _data ?? default, _parameters.BinaryDataSize);
        }

        private readonly string ReadString(ref Utf8JsonReader reader, string member, int index)
        {
            reader.Read();
            return reader.TokenType == JsonTokenType.String
                ? reader.GetString()!
                : throw InferenceException.BadRequest($"{What(index)}: '{member}' must be a string.");
        }
    }
}
