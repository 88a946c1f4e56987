using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>An inference reply and its two wire forms: JSON alone, or JSON followed by the binary outputs.</summary>
internal sealed record InferResponse
{
    public required string ModelName { get; init; }

    public required string ModelVersion { get; init; }

    public string? Id { get; init; }

    public required string PredictionId { get; init; }

    public required IReadOnlyList<OutputTensor> Outputs { get; init; }

    public bool HasBinary => Outputs.Any(o => o.Binary);

    /// <summary>Writes the JSON part; the data of binary outputs follows it in their order.</summary>
    public void WriteJson(IBufferWriter<byte> target)
    {
        using var json = new Utf8JsonWriter(target);
        json.WriteStartObject();
        json.WriteString("model_name"u8, ModelName);
        json.WriteString("model_version"u8, ModelVersion);
        if (Id is not null)
        {
            json.WriteString("id"u8, Id);
        }

        json.WriteStartObject("parameters"u8);
        json.WriteString("prediction_id"u8, PredictionId);
        json.WriteEndObject();
        json.WriteStartArray("outputs"u8);
        foreach (var (tensor, binary) in Outputs)
        {
            Write(json, tensor, binary);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, Tensor tensor, bool binary)
    {
        json.WriteStartObject();
        json.WriteString("name"u8, tensor.Name);
        json.WriteString("datatype"u8, tensor.DataType.Name());
        json.WriteStartArray("shape"u8);
        foreach (var size in tensor.Shape)
        {
            json.WriteNumberValue(size);
        }

        json.WriteEndArray();
        if (binary)
        {
            json.WriteStartObject("parameters"u8);
            json.WriteNumber("binary_data_size"u8, tensor.Data.Length);
            json.WriteEndObject();
        }
        else
        {
            json.WriteStartArray("data"u8);
            WriteData(json, tensor);
            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    private static void WriteData(Utf8JsonWriter json, Tensor tensor)
    {
        var data = tensor.Data.Span;
        switch (tensor.DataType)
        {
            case DataType.Bool:
                Each<byte>(data, v => json.WriteBooleanValue(v != 0));
                break;
            case DataType.UInt8:
                Each<byte>(data, v => json.WriteNumberValue((uint)v));
                break;
            case DataType.UInt16:
                Each<ushort>(data, v => json.WriteNumberValue((uint)v));
                break;
            case DataType.UInt32:
                Each<uint>(data, json.WriteNumberValue);
                break;
            case DataType.UInt64:
                Each<ulong>(data, json.WriteNumberValue);
                break;
            case DataType.Int8:
                Each<sbyte>(data, v => json.WriteNumberValue((int)v));
                break;
            case DataType.Int16:
                Each<short>(data, v => json.WriteNumberValue((int)v));
                break;
            case DataType.Int32:
                Each<int>(data, json.WriteNumberValue);
                break;
            case DataType.Int64:
                Each<long>(data, json.WriteNumberValue);
                break;
            case DataType.Fp16:
                Each<Half>(data, v => WriteFloat(json, (float)v));
                break;
            case DataType.Bf16:
                Each<ushort>(data, v => WriteFloat(json, BFloat16Bits.ToSingle(v)));
                break;
            case DataType.Fp32:
                Each<float>(data, v => WriteFloat(json, v));
                break;
            case DataType.Fp64:
                Each<double>(data, v => WriteDouble(json, v));
                break;
            default:
                WriteStrings(json, tensor);
                break;
        }
    }

    private static void Each<T>(ReadOnlySpan<byte> data, Action<T> write)
        where T : unmanaged
    {
        foreach (var value in MemoryMarshal.Cast<byte, T>(data))
        {
            write(value);
        }
    }

    private static void WriteFloat(Utf8JsonWriter json, float value)
    {
        if (float.IsFinite(value))
        {
            json.WriteNumberValue(value);
        }
        else
        {
            json.WriteStringValue(NamedNumbers.Name(value));
        }
    }

    private static void WriteDouble(Utf8JsonWriter json, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumberValue(value);
        }
        else
        {
            json.WriteStringValue(NamedNumbers.Name(value));
        }
    }

    private static void WriteStrings(Utf8JsonWriter json, Tensor tensor)
    {
        var data = tensor.Data.Span;
        while (!data.IsEmpty)
        {
            var length = (int)BinaryPrimitives.ReadUInt32LittleEndian(data);
            var value = data.Slice(Tensor.LengthPrefix, length);
            if (!System.Text.Unicode.Utf8.IsValid(value))
            {
                throw InferenceException.BadRequest(
                    $"Output '{tensor.Name}' holds bytes that are no UTF-8 text; ask for it as binary data (parameters: {{\"binary_data\": true}}).");
            }

            json.WriteStringValue(value);
            data = data[(Tensor.LengthPrefix + length)..];
        }
    }
}

internal readonly record struct OutputTensor(Tensor Tensor, bool Binary);
