using Onnx;

namespace DeepSeek.Onnx;

/// <summary>Declared types and shapes of graph inputs, outputs and values.</summary>
public static class OnnxShapes
{
    public static ValueInfoProto ValueInfo(string name, OnnxType type, params ReadOnlySpan<OnnxDim> shape)
    {
        var dims = new TensorShapeProto();
        foreach (var dim in shape)
        {
            var proto = new TensorShapeProto.Types.Dimension();
            if (dim.Size is { } size)
                proto.DimValue = size;
            else if (dim.Symbol is { } symbol)
                proto.DimParam = symbol;
            dims.Dim.Add(proto);
        }
        return new ValueInfoProto
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = dims } },
        };
    }

    /// <summary>The declared shape, or null where none is declared.</summary>
    public static OnnxDim[]? Shape(this ValueInfoProto value) =>
        value.Type?.TensorType?.Shape is not { } shape ? null : [.. shape.Dim.Select(d => d.ValueCase switch
        {
            TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue => new OnnxDim(d.DimValue),
            TensorShapeProto.Types.Dimension.ValueOneofCase.DimParam when d.DimParam.Length > 0 => new OnnxDim(null, d.DimParam),
            _ => default,
        })];

    public static OnnxType ElementType(this ValueInfoProto value) => (OnnxType)(value.Type?.TensorType?.ElemType ?? 0);

    /// <summary>Number of elements; throws for a negative or overflowing size.</summary>
    public static long Count(IEnumerable<long> dims)
    {
        long count = 1;
        foreach (var dim in dims)
        {
            if (dim < 0)
                throw new InvalidOnnxException($"A dimension is negative ({dim}).");
            try
            {
                count = checked(count * dim);
            }
            catch (OverflowException e)
            {
                throw new InvalidOnnxException("The product of the dimensions overflows.", e);
            }
        }
        return count;
    }

    /// <summary>Bytes per element of raw data; 0 for strings.</summary>
    public static int SizeOf(OnnxType type) => type switch
    {
        OnnxType.Double or OnnxType.Int64 or OnnxType.UInt64 => 8,
        OnnxType.Float or OnnxType.Int32 or OnnxType.UInt32 => 4,
        OnnxType.Float16 or OnnxType.BFloat16 or OnnxType.Int16 or OnnxType.UInt16 => 2,
        OnnxType.Int8 or OnnxType.UInt8 or OnnxType.Bool => 1,
        OnnxType.String => 0,
        _ => throw new InvalidOnnxException($"Element type {(int)type} is not supported here; use float, double, an integer type, bool or string."),
    };
}
