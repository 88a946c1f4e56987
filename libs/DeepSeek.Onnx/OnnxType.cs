namespace DeepSeek.Onnx;

/// <summary>Element types of ONNX tensors; the values are those of the file format.</summary>
public enum OnnxType
{
    Undefined = 0,
    Float = 1,
    UInt8 = 2,
    Int8 = 3,
    UInt16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    UInt32 = 12,
    UInt64 = 13,
    BFloat16 = 16,
}

/// <summary>One dimension of a shape: a size, a symbol such as "N", or unknown (<c>default</c>).</summary>
public readonly record struct OnnxDim(long? Size, string? Symbol = null)
{
    public static implicit operator OnnxDim(long size) => new(size);
    public static implicit operator OnnxDim(int size) => new(size);
    public static implicit operator OnnxDim(string symbol) => new(null, symbol);

    public override string ToString() => Size?.ToString() ?? Symbol ?? "?";
}

/// <summary>The model breaks the format or a rule of this platform; the message names the place and the remedy.</summary>
public sealed class InvalidOnnxException(string message, Exception? inner = null) : Exception(message, inner);
