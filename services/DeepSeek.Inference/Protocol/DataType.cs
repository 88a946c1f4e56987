using Microsoft.ML.OnnxRuntime.Tensors;

namespace DeepSeek.Inference.Protocol;

/// <summary>Element types of the Open Inference Protocol v2.</summary>
internal enum DataType
{
    Bool,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

internal static class DataTypes
{
    private static readonly Entry[] All =
    [
        new(DataType.Bool, "BOOL", 1, TensorElementType.Bool),
        new(DataType.UInt8, "UINT8", 1, TensorElementType.UInt8),
        new(DataType.UInt16, "UINT16", 2, TensorElementType.UInt16),
        new(DataType.UInt32, "UINT32", 4, TensorElementType.UInt32),
        new(DataType.UInt64, "UINT64", 8, TensorElementType.UInt64),
        new(DataType.Int8, "INT8", 1, TensorElementType.Int8),
        new(DataType.Int16, "INT16", 2, TensorElementType.Int16),
        new(DataType.Int32, "INT32", 4, TensorElementType.Int32),
        new(DataType.Int64, "INT64", 8, TensorElementType.Int64),
        new(DataType.Fp16, "FP16", 2, TensorElementType.Float16),
        new(DataType.Bf16, "BF16", 2, TensorElementType.BFloat16),
        new(DataType.Fp32, "FP32", 4, TensorElementType.Float),
        new(DataType.Fp64, "FP64", 8, TensorElementType.Double),
        new(DataType.Bytes, "BYTES", 0, TensorElementType.String),
    ];

    public static string Known { get; } = string.Join(", ", All.Select(e => e.Name));

    public static bool TryParse(string? name, out DataType type)
    {
        foreach (var entry in All)
        {
            if (entry.Name == name)
            {
                type = entry.Type;
                return true;
            }
        }

        type = default;
        return false;
    }

    public static bool TryFrom(TensorElementType element, out DataType type)
    {
        foreach (var entry in All)
        {
            if (entry.Element == element)
            {
                type = entry.Type;
                return true;
            }
        }

        type = default;
        return false;
    }

    public static string Name(this DataType type) => All[(int)type].Name;

    /// <summary>Bytes per element; 0 for <see cref="DataType.Bytes"/>, whose elements carry their own length.</summary>
    public static int Size(this DataType type) => All[(int)type].Size;

    public static TensorElementType ElementType(this DataType type) => All[(int)type].Element;

    /// <summary>The name Triton's model configuration gives the type, for instance TYPE_FP32.</summary>
    public static string ConfigurationName(this DataType type) =>
        type == DataType.Bytes ? "TYPE_STRING" : "TYPE_" + type.Name();

    private sealed record Entry(DataType Type, string Name, int Size, TensorElementType Element);
}
