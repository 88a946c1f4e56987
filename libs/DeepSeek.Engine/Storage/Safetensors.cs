using System.Buffers.Binary;
using System.Text.Json;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Storage;

/// <summary>
/// The safetensors format: eight bytes of header length (little-endian), a JSON header
/// <c>{"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},…,"__metadata__":{…}}</c>, then the tensors' bytes without gaps.
/// </summary>
public static class Safetensors
{
    private const string MetadataKey = "__metadata__";
    private const int MaxHeader = 100_000_000;

    /// <summary>Writes tensors sorted by name; equal tensors give equal bytes.</summary>
    public static void Write(Stream stream, IEnumerable<NamedTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var sorted = tensors.OrderBy(t => t.Name, StringComparer.Ordinal).ToArray();
        var header = Header(sorted, metadata);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        stream.Write(length);
        stream.Write(header);
        foreach (var (_, tensor) in sorted)
        {
            stream.Write(tensor.Bytes());
        }
    }

    /// <summary>Reads a whole file; the caller disposes the tensors.</summary>
    /// <exception cref="InvalidDataException">It is no safetensors file, or a damaged one: the message says where.</exception>
    public static SafetensorsContent Read(ReadOnlySpan<byte> file)
    {
        if (file.Length < 8)
        {
            throw new InvalidDataException("Not a safetensors file: shorter than its first eight bytes.");
        }
        var length = BinaryPrimitives.ReadUInt64LittleEndian(file);
        if (length > MaxHeader || length > (ulong)file.Length - 8)
        {
            throw new InvalidDataException($"Not a safetensors file: its header would take {length} bytes.");
        }
        var data = file[(8 + (int)length)..];
        var tensors = new Dictionary<string, TensorHandle>(StringComparer.Ordinal);
        try
        {
            using var header = JsonDocument.Parse(file.Slice(8, (int)length).ToArray(), new JsonDocumentOptions { MaxDepth = 8 });
            var metadata = Metadata(header.RootElement);
            long end = 0;
            foreach (var entry in Entries(header.RootElement))
            {
                if (entry.From != end || entry.To < entry.From || entry.To > data.Length)
                {
                    throw new InvalidDataException($"Tensor '{entry.Name}' lies at bytes {entry.From} to {entry.To}; expected from {end}, at most to {data.Length}.");
                }
                end = entry.To;
                tensors.Add(entry.Name, Load(entry, data[(int)entry.From..(int)entry.To]));
            }
            return end == data.Length
                ? new SafetensorsContent(tensors, metadata)
                : throw new InvalidDataException($"The file has {data.Length - end} bytes behind its last tensor.");
        }
        catch (Exception fault)
        {
            foreach (var tensor in tensors.Values)
            {
                tensor.Dispose();
            }
            if (fault is JsonException or InvalidOperationException or FormatException or KeyNotFoundException or ArgumentException)
            {
                throw new InvalidDataException($"The safetensors header is not valid: {fault.Message}", fault);
            }
            throw;
        }
    }

    /// <summary>
    /// Reads a file of any size a tensor at a time, in the order of their bytes; each is freed when <paramref name="visit"/> returns.
    /// </summary>
    /// <exception cref="InvalidDataException">It is no safetensors file, or a damaged one: the message says where.</exception>
    public static void Visit(Stream stream, Action<string, TensorHandle> visit)
    {
        Span<byte> start = stackalloc byte[8];
        try
        {
            stream.ReadExactly(start);
            var length = BinaryPrimitives.ReadUInt64LittleEndian(start);
            if (length > MaxHeader)
            {
                throw new InvalidDataException($"Not a safetensors file: its header would take {length} bytes.");
            }
            var text = new byte[length];
            stream.ReadExactly(text);
            using var header = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 8 });
            long end = 0;
            foreach (var entry in Entries(header.RootElement))
            {
                if (entry.From != end || entry.To < entry.From || entry.To - entry.From > int.MaxValue)
                {
                    throw new InvalidDataException($"Tensor '{entry.Name}' lies at bytes {entry.From} to {entry.To}; expected from {end}, at most {int.MaxValue} long.");
                }
                end = entry.To;
                var data = new byte[entry.To - entry.From];
                stream.ReadExactly(data);
                using var tensor = Load(entry, data);
                visit(entry.Name, tensor);
            }
        }
        catch (Exception fault) when (fault is EndOfStreamException or JsonException or InvalidOperationException or FormatException or KeyNotFoundException)
        {
            throw new InvalidDataException($"The safetensors file ends early or its header is not valid: {fault.Message}", fault);
        }
    }

    private static byte[] Header(NamedTensor[] tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata is not null)
            {
                json.WriteStartObject(MetadataKey);
                foreach (var (key, value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
                {
                    json.WriteString(key, value);
                }
                json.WriteEndObject();
            }
            long offset = 0;
            foreach (var (name, handle) in tensors)
            {
                var tensor = handle.Tensor;
                var bytes = tensor.Elements * tensor.Dtype.Size();
                json.WriteStartObject(name);
                json.WriteString("dtype", Code(tensor.Dtype));
                json.WriteStartArray("shape");
                foreach (var size in tensor.Shape())
                {
                    json.WriteNumberValue(size);
                }
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += bytes);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        // Spaces keep the tensors' bytes aligned to eight.
        while (buffer.Length % 8 != 0)
        {
            buffer.WriteByte((byte)' ');
        }
        return buffer.ToArray();
    }

    private static Dictionary<string, string> Metadata(JsonElement header) => header.TryGetProperty(MetadataKey, out var metadata)
        ? metadata.EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetString() ?? "", StringComparer.Ordinal)
        : new Dictionary<string, string>(StringComparer.Ordinal);

    private static List<Entry> Entries(JsonElement header) =>
    [
        .. header.EnumerateObject().Where(p => p.Name != MetadataKey).Select(p => new Entry(
            p.Name,
            Decode(p.Value.GetProperty("dtype").GetString()),
            [.. p.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())],
            p.Value.GetProperty("data_offsets")[0].GetInt64(),
            p.Value.GetProperty("data_offsets")[1].GetInt64())).OrderBy(e => e.From).ThenBy(e => e.To),
    ];

    private static TensorHandle Load(Entry entry, ReadOnlySpan<byte> data)
    {
        long bytes = entry.Dtype.Size();
        foreach (var size in entry.Shape)
        {
            if (size < 0 || (size > 0 && bytes > int.MaxValue / size))
            {
                throw new InvalidDataException($"Tensor '{entry.Name}' has the impossible shape [{string.Join(", ", entry.Shape)}].");
            }
            bytes *= size;
        }
        if (bytes != data.Length)
        {
            throw new InvalidDataException($"Tensor '{entry.Name}' of shape [{string.Join(", ", entry.Shape)}] needs {bytes} bytes and has {data.Length}.");
        }
        if (entry.Shape.Length > 16)
        {
            throw new InvalidDataException($"Tensor '{entry.Name}' has {entry.Shape.Length} dimensions; at most 16 can be read.");
        }
        var tensor = TensorHandle.Empty(entry.Dtype, entry.Shape);
        data.CopyTo(tensor.Bytes());
        return tensor;
    }

    private static string Code(Dtype dtype) => dtype switch
    {
        Dtype.UInt8 => "U8",
        Dtype.Int8 => "I8",
        Dtype.Int16 => "I16",
        Dtype.Int32 => "I32",
        Dtype.Int64 => "I64",
        Dtype.Float16 => "F16",
        Dtype.BFloat16 => "BF16",
        Dtype.Float32 => "F32",
        Dtype.Float64 => "F64",
        Dtype.Bool => "BOOL",
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, null),
    };

    private static Dtype Decode(string? code) => code switch
    {
        "U8" => Dtype.UInt8,
        "I8" => Dtype.Int8,
        "I16" => Dtype.Int16,
        "I32" => Dtype.Int32,
        "I64" => Dtype.Int64,
        "F16" => Dtype.Float16,
        "BF16" => Dtype.BFloat16,
        "F32" => Dtype.Float32,
        "F64" => Dtype.Float64,
        "BOOL" => Dtype.Bool,
        _ => throw new InvalidDataException($"Tensors of type '{code}' cannot be read."),
    };

    private sealed record Entry(string Name, Dtype Dtype, long[] Shape, long From, long To);
}

/// <summary>Tensors and metadata of a safetensors file; disposing frees the tensors.</summary>
public sealed record SafetensorsContent(IReadOnlyDictionary<string, TensorHandle> Tensors, IReadOnlyDictionary<string, string> Metadata) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in Tensors.Values)
        {
            tensor.Dispose();
        }
    }
}
