using System.Buffers.Binary;

namespace DeepSeek.Inference.Protocol;

/// <summary>
/// A tensor in the protocol's binary form: row-major, little-endian, no padding; every BYTES element is a 4-byte length
/// and its bytes. The data may be a slice of the request's own buffer.
/// </summary>
internal sealed record Tensor(string Name, DataType DataType, long[] Shape, ReadOnlyMemory<byte> Data)
{
    public const int LengthPrefix = sizeof(uint);

    public long Count => Shapes.Count(Shape);

    /// <summary>Rows along axis 0; a scalar has one.</summary>
    public long Rows => Shape.Length == 0 ? 1 : Shape[0];

    /// <summary>Rows [<paramref name="start"/>, <paramref name="start"/> + <paramref name="rows"/>) along axis 0, without a copy.</summary>
    public Tensor Slice(long start, long rows)
    {
        var shape = (long[])Shape.Clone();
        shape[0] = rows;
        var perRow = Shapes.Count(Shape.AsSpan(1));
        if (DataType != DataType.Bytes)
        {
            var bytes = checked((int)(perRow * DataType.Size()));
            return this with { Shape = shape, Data = Data.Slice(checked((int)(start * bytes)), checked((int)(rows * bytes))) };
        }

        var from = SkipElements(Data.Span, 0, start * perRow);
        var to = SkipElements(Data.Span, from, rows * perRow);
        return this with { Shape = shape, Data = Data[from..to] };
    }

    /// <summary>Joins tensors of one name along axis 0.</summary>
    public static Tensor Concatenate(IReadOnlyList<Tensor> parts)
    {
        if (parts.Count == 1)
        {
            return parts[0];
        }

        var shape = (long[])parts[0].Shape.Clone();
        shape[0] = parts.Sum(p => p.Shape[0]);
        var data = new byte[parts.Sum(p => p.Data.Length)];
        var at = 0;
        foreach (var part in parts)
        {
            part.Data.Span.CopyTo(data.AsSpan(at));
            at += part.Data.Length;
        }

        return parts[0] with { Shape = shape, Data = data };
    }

    private static int SkipElements(ReadOnlySpan<byte> data, int at, long elements)
    {
        for (; elements > 0; elements--)
        {
            at += LengthPrefix + checked((int)BinaryPrimitives.ReadUInt32LittleEndian(data[at..]));
        }

        return at;
    }
}

internal static class Shapes
{
    public static long Count(ReadOnlySpan<long> shape)
    {
        var count = 1L;
        foreach (var size in shape)
        {
            count = checked(count * size);
        }

        return count;
    }

    /// <summary>False when a size is negative or the number of elements exceeds <paramref name="limit"/>.</summary>
    public static bool TryCount(ReadOnlySpan<long> shape, long limit, out long count)
    {
        count = 1;
        var empty = false;
        foreach (var size in shape)
        {
            if (size < 0 || (size > 0 && count > limit / size))
            {
                return false;
            }

            empty |= size == 0;
            count *= Math.Max(size, 1);
        }

        count = empty ? 0 : count;
        return true;
    }

    public static string Text(ReadOnlySpan<long> shape) => "[" + string.Join(',', shape.ToArray()) + "]";
}
