using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;

namespace DeepSeek.Onnx;

/// <summary>Tensors to and from arrays. Written numbers are raw little-endian data, row-major.</summary>
public static class OnnxTensors
{
    public static TensorProto Of(string name, ReadOnlySpan<float> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.Float, data, dims);
    public static TensorProto Of(string name, ReadOnlySpan<double> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.Double, data, dims);
    public static TensorProto Of(string name, ReadOnlySpan<long> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.Int64, data, dims);
    public static TensorProto Of(string name, ReadOnlySpan<int> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.Int32, data, dims);
    public static TensorProto Of(string name, ReadOnlySpan<sbyte> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.Int8, data, dims);
    public static TensorProto Of(string name, ReadOnlySpan<byte> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.UInt8, data, dims);
    public static TensorProto Of(string name, ReadOnlySpan<bool> data, params ReadOnlySpan<long> dims) => Raw(name, OnnxType.Bool, data, dims);

    public static TensorProto Of(string name, ReadOnlySpan<string> data, params ReadOnlySpan<long> dims)
    {
        var tensor = Empty(name, OnnxType.String, data.Length, dims);
        foreach (var text in data)
            tensor.StringData.Add(ByteString.CopyFromUtf8(text));
        return tensor;
    }

    public static OnnxType Type(this TensorProto tensor) => (OnnxType)tensor.DataType;

    public static long Count(this TensorProto tensor) => OnnxShapes.Count(tensor.Dims);

    /// <summary>The values of a FLOAT tensor (raw or typed data).</summary>
    public static float[] Floats(this TensorProto tensor) => Values<float>(tensor, OnnxType.Float, tensor.FloatData);

    public static double[] Doubles(this TensorProto tensor) => Values<double>(tensor, OnnxType.Double, tensor.DoubleData);

    public static long[] Longs(this TensorProto tensor) => Values<long>(tensor, OnnxType.Int64, tensor.Int64Data);

    public static int[] Ints(this TensorProto tensor) => Values<int>(tensor, OnnxType.Int32, tensor.Int32Data);

    public static sbyte[] SBytes(this TensorProto tensor) => Values(tensor, OnnxType.Int8, tensor.Int32Data.Select(v => (sbyte)v));

    public static byte[] Bytes(this TensorProto tensor) => Values(tensor, OnnxType.UInt8, tensor.Int32Data.Select(v => (byte)v));

    public static string[] Strings(this TensorProto tensor)
    {
        Expect(tensor, OnnxType.String);
        return [.. tensor.StringData.Select(s => s.ToStringUtf8())];
    }

    private static TensorProto Raw<T>(string name, OnnxType type, ReadOnlySpan<T> data, ReadOnlySpan<long> dims) where T : unmanaged
    {
        var tensor = Empty(name, type, data.Length, dims);
        tensor.RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(data));
        return tensor;
    }

    private static TensorProto Empty(string name, OnnxType type, int length, ReadOnlySpan<long> dims)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)type };
        foreach (var dim in dims)
            tensor.Dims.Add(dim);
        if (tensor.Count() != length)
            throw new ArgumentException($"Tensor '{name}' has {length} values, its shape [{string.Join(", ", tensor.Dims)}] needs {tensor.Count()}.", nameof(dims));
        return tensor;
    }

    private static T[] Values<T>(TensorProto tensor, OnnxType type, IEnumerable<T> typed) where T : unmanaged
    {
        Expect(tensor, type);
        var values = tensor.RawData.Length > 0 ? MemoryMarshal.Cast<byte, T>(tensor.RawData.Span).ToArray() : [.. typed];
        if (values.Length != tensor.Count())
            throw new InvalidOnnxException($"Tensor '{tensor.Name}' holds {values.Length} values, its shape [{string.Join(", ", tensor.Dims)}] needs {tensor.Count()}.");
        return values;
    }

    private static void Expect(TensorProto tensor, OnnxType type)
    {
        if (tensor.Type() != type)
            throw new InvalidOnnxException($"Tensor '{tensor.Name}' is of type {tensor.Type()}, {type} was expected.");
    }
}
