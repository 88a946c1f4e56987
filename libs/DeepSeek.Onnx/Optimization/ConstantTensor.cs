using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>A constant as plain bytes, row-major.</summary>
internal sealed record ConstantTensor(OnnxType Type, long[] Dims, byte[] Data)
{
    internal bool Supported => Type is OnnxType.Float or OnnxType.Int64 or OnnxType.Double or OnnxType.Int32 or OnnxType.Bool;

    internal int ElementSize => OnnxShapes.SizeOf(Type);

    internal long Count => OnnxShapes.Count(Dims);

    internal static ConstantTensor Of(TensorProto tensor)
    {
        var type = tensor.Type();
        byte[] data = tensor.RawData.Length > 0 || tensor.Count() == 0 ? tensor.RawData.ToByteArray() : type switch
        {
            OnnxType.Float => Bytes<float>(tensor.Floats()),
            OnnxType.Double => Bytes<double>(tensor.Doubles()),
            OnnxType.Int64 => Bytes<long>(tensor.Longs()),
            OnnxType.Int32 => Bytes<int>(tensor.Ints()),
            OnnxType.Bool => [.. tensor.Int32Data.Select(v => (byte)v)],
            _ => [],
        };
        return new ConstantTensor(type, [.. tensor.Dims], data);
    }

    internal static ConstantTensor Of<T>(OnnxType type, long[] dims, T[] values) where T : unmanaged => new(type, dims, Bytes<T>(values));

    internal ReadOnlySpan<T> As<T>() where T : unmanaged => MemoryMarshal.Cast<byte, T>(Data);

    /// <summary>Axes, sizes and indices.</summary>
    /// <exception cref="InvalidOnnxException">They are of another type than INT64.</exception>
    internal long[] Longs() => Type == OnnxType.Int64 ? As<long>().ToArray() : throw new InvalidOnnxException($"INT64 was expected, not {Type}.");

    /// <summary>As numbers, which is exact for floats and for integers up to 2⁵³.</summary>
    internal double[] Numbers() => Type switch
    {
        OnnxType.Float => [.. As<float>().ToArray().Select(v => (double)v)],
        OnnxType.Double => As<double>().ToArray(),
        OnnxType.Int64 => [.. As<long>().ToArray().Select(v => (double)v)],
        OnnxType.Int32 => [.. As<int>().ToArray().Select(v => (double)v)],
        _ => [.. Data.Select(v => (double)v)],
    };

    internal static ConstantTensor FromNumbers(OnnxType type, long[] dims, double[] values) => type switch
    {
        OnnxType.Float => Of(type, dims, values.Select(v => (float)v).ToArray()),
        OnnxType.Double => Of(type, dims, values),
        OnnxType.Int64 => Of(type, dims, values.Select(v => (long)v).ToArray()),
        OnnxType.Int32 => Of(type, dims, values.Select(v => (int)v).ToArray()),
        _ => Of(type, dims, values.Select(v => (byte)(v != 0 ? 1 : 0)).ToArray()),
    };

    internal TensorProto ToProto(string name) => new() { Name = name, DataType = (int)Type, Dims = { Dims }, RawData = ByteString.CopyFrom(Data) };

    private static byte[] Bytes<T>(T[] values) where T : unmanaged => MemoryMarshal.AsBytes<T>(values).ToArray();
}
