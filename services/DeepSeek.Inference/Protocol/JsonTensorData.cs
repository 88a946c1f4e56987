using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace DeepSeek.Inference.Protocol;

/// <summary>
/// Reads a tensor's <c>data</c> array straight from the JSON bytes into the tensor's memory. Row-major data may be flat
/// or nested as the shape says; both are checked against the shape.
/// </summary>
internal static class JsonTensorData
{
    private const int MaxRank = 32;

    /// <param name="reader">Stands on the array's opening bracket; afterwards on its closing one.</param>
    /// <param name="what">How messages name the tensor, for instance: Input 'x'.</param>
    /// <param name="available">Length of the JSON, in bytes: an array of n elements needs at least 2n-1 of them.</param>
    public static ReadOnlyMemory<byte> Read(ref Utf8JsonReader reader, string what, DataType type, long[] shape, long available)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw InferenceException.BadRequest($"{what}: 'data' must be an array.");
        }

        if (shape.Length > MaxRank)
        {
            throw InferenceException.BadRequest($"{what}: the shape has {shape.Length} dimensions; at most {MaxRank} are taken.");
        }

        // Refused before memory is set aside for it: a shape of a billion elements costs its sender a billion elements.
        if (!Shapes.TryCount(shape, (available + 1) / 2, out var count))
        {
            throw InferenceException.BadRequest($"{what}: 'data' has fewer elements than its shape {Shapes.Text(shape)} wants.");
        }

        var walk = new Walk(what, shape, count);
        return type switch
        {
            DataType.Bool => Numbers<byte, BoolElement>(ref reader, ref walk),
            DataType.UInt8 => Numbers<byte, IntegerElement<byte>>(ref reader, ref walk),
            DataType.UInt16 => Numbers<ushort, IntegerElement<ushort>>(ref reader, ref walk),
            DataType.UInt32 => Numbers<uint, IntegerElement<uint>>(ref reader, ref walk),
            DataType.UInt64 => Numbers<ulong, IntegerElement<ulong>>(ref reader, ref walk),
            DataType.Int8 => Numbers<sbyte, IntegerElement<sbyte>>(ref reader, ref walk),
            DataType.Int16 => Numbers<short, IntegerElement<short>>(ref reader, ref walk),
            DataType.Int32 => Numbers<int, IntegerElement<int>>(ref reader, ref walk),
            DataType.Int64 => Numbers<long, IntegerElement<long>>(ref reader, ref walk),
            DataType.Fp16 => Numbers<Half, Fp16Element>(ref reader, ref walk),
            DataType.Bf16 => Numbers<ushort, Bf16Element>(ref reader, ref walk),
            DataType.Fp32 => Numbers<float, Fp32Element>(ref reader, ref walk),
            DataType.Fp64 => Numbers<double, Fp64Element>(ref reader, ref walk),
            _ => Strings(ref reader, ref walk),
        };
    }

    private static byte[] Numbers<T, TElement>(ref Utf8JsonReader reader, ref Walk walk)
        where T : unmanaged
        where TElement : IJsonElement<T>
    {
        var bytes = new byte[checked((int)(walk.Count * Unsafe.SizeOf<T>()))];
        var target = MemoryMarshal.Cast<byte, T>(bytes.AsSpan());
        while (walk.MoveNext(ref reader))
        {
            if (!TElement.TryRead(ref reader, out target[(int)walk.Index]))
            {
                throw walk.Wrong(ref reader, TElement.Wanted);
            }
        }

        return bytes;
    }

    private static ReadOnlyMemory<byte> Strings(ref Utf8JsonReader reader, ref Walk walk)
    {
        var bytes = new ArrayBufferWriter<byte>(256);
        while (walk.MoveNext(ref reader))
        {
            if (reader.TokenType != JsonTokenType.String)
            {
                throw walk.Wrong(ref reader, "a string");
            }

            var span = bytes.GetSpan(Tensor.LengthPrefix + reader.ValueSpan.Length);
            int length;
            try
            {
                length = reader.CopyString(span[Tensor.LengthPrefix..]);
            }
            catch (InvalidOperationException)
            {
                throw walk.Wrong(ref reader, "a string of valid Unicode (send other bytes as binary data)");
            }

            BinaryPrimitives.WriteUInt32LittleEndian(span, (uint)length);
            bytes.Advance(Tensor.LengthPrefix + length);
        }

        return bytes.WrittenMemory;
    }

    /// <summary>Walks the elements in order and holds the brackets against the shape.</summary>
    private ref struct Walk(string what, long[] shape, long count)
    {
        private Counts _counts;
        private int _depth = 1;
        private int _leafDepth;

        public long Count { get; } = count;

        public long Index { get; private set; } = -1;

        public bool MoveNext(ref Utf8JsonReader reader)
        {
            while (reader.Read())
            {
                switch (reader.TokenType)
                {
                    case JsonTokenType.StartArray:
                        _counts[_depth - 1]++;
                        if (++_depth > Math.Max(shape.Length, 1) || (_leafDepth != 0 && _depth > _leafDepth))
                        {
                            throw Nesting();
                        }

                        _counts[_depth - 1] = 0;
                        break;
                    case JsonTokenType.EndArray:
                        Close();
                        if (--_depth == 0)
                        {
                            return false;
                        }

                        break;
                    default:
                        Leaf();
                        return true;
                }
            }

            throw InferenceException.BadRequest($"{what}: 'data' ends early.");
        }

        public readonly InferenceException Wrong(ref Utf8JsonReader reader, string wanted)
        {
            var text = reader.TokenType is JsonTokenType.StartObject ? "an object" : JsonText.Shorten(reader.ValueSpan);
            return InferenceException.BadRequest($"{what}: element {Index} of 'data' is {text}; it must be {wanted}.");
        }

        private void Leaf()
        {
            if (_leafDepth == 0)
            {
                _leafDepth = _depth;
                if (_depth != 1 && _depth != shape.Length)
                {
                    throw Nesting();
                }
            }
            else if (_leafDepth != _depth)
            {
                throw Nesting();
            }

            _counts[_depth - 1]++;
            if (++Index >= Count)
            {
                throw InferenceException.BadRequest(
                    $"{what}: 'data' has more than the {Count} elements of its shape {Shapes.Text(shape)}.");
            }
        }

        private readonly void Close()
        {
            var flat = _depth == 1 && _leafDepth <= 1;
            var expected = flat && _counts[0] == Index + 1 ? Count : shape.Length == 0 ? 1 : shape[_depth - 1];
            if (Count == 0 && Index < 0)
            {
                return;
            }

            if (_counts[_depth - 1] != expected)
            {
                throw InferenceException.BadRequest(
                    $"{what}: an array of 'data' at depth {_depth} has {_counts[_depth - 1]} elements, its shape {Shapes.Text(shape)} wants {expected}.");
            }
        }

        private readonly InferenceException Nesting() => InferenceException.BadRequest(
            $"{what}: 'data' must be flat or nested as its shape {Shapes.Text(shape)} says.");
    }

    [InlineArray(MaxRank)]
    private struct Counts
    {
        private long _element;
    }
}
