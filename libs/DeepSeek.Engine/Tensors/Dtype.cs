namespace DeepSeek.Engine.Tensors;

/// <summary>Element types, numbered as libtorch numbers them.</summary>
public enum Dtype
{
    /// <summary>Unsigned 8-bit integer.</summary>
    UInt8 = 0,
    /// <summary>Signed 8-bit integer.</summary>
    Int8 = 1,
    /// <summary>Signed 16-bit integer.</summary>
    Int16 = 2,
    /// <summary>Signed 32-bit integer.</summary>
    Int32 = 3,
    /// <summary>Signed 64-bit integer.</summary>
    Int64 = 4,
    /// <summary>IEEE half precision.</summary>
    Float16 = 5,
    /// <summary>IEEE single precision.</summary>
    Float32 = 6,
    /// <summary>IEEE double precision.</summary>
    Float64 = 7,
    /// <summary>Truth value.</summary>
    Bool = 11,
    /// <summary>Single precision's range at eight bits of precision.</summary>
    BFloat16 = 15,
}

/// <summary>Facts about element types.</summary>
public static class Dtypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Size(this Dtype dtype) => dtype switch
    {
        Dtype.UInt8 or Dtype.Int8 or Dtype.Bool => 1,
        Dtype.Int16 or Dtype.Float16 or Dtype.BFloat16 => 2,
        Dtype.Int32 or Dtype.Float32 => 4,
        Dtype.Int64 or Dtype.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, null),
    };

    /// <summary>The element type that holds a .NET type.</summary>
    public static Dtype Of<T>() where T : unmanaged =>
        typeof(T) == typeof(float) ? Dtype.Float32
        : typeof(T) == typeof(double) ? Dtype.Float64
        : typeof(T) == typeof(long) ? Dtype.Int64
        : typeof(T) == typeof(int) ? Dtype.Int32
        : typeof(T) == typeof(short) ? Dtype.Int16
        : typeof(T) == typeof(byte) ? Dtype.UInt8
        : typeof(T) == typeof(sbyte) ? Dtype.Int8
        : typeof(T) == typeof(bool) ? Dtype.Bool
        : typeof(T) == typeof(Half) ? Dtype.Float16
        : throw new NotSupportedException($"Tensors hold no {typeof(T).Name}.");
}
