using DeepSeek.Inference.Protocol;

namespace DeepSeek.Inference.Serving;

internal static class WarmUpWork
{
    /// <summary>More made-up data than this is not worth the time; the batch is then cut to one row.</summary>
    private const long MaxBytes = 16 << 20;

    /// <summary>Zeros and empty strings in the shape the model wants; sizes that may vary are 1.</summary>
    public static InferenceWork Of(ModelSignature signature, int rows)
    {
        var perRow = signature.Inputs.Sum(i => Bytes(i, 1));
        rows = signature.HasBatchAxis && perRow * rows <= MaxBytes ? rows : 1;
        return new(
            [.. signature.Inputs.Select(i => new Tensor(i.Name, i.DataType, Shape(i, rows), new byte[Bytes(i, rows)]))],
            rows,
            [.. Enumerable.Range(0, signature.Outputs.Count)]);
    }

    private static long Bytes(TensorSpec spec, int rows) =>
        // An empty string is a length of 0, which is four bytes of zero.
        Shapes.Count(Shape(spec, rows)) * (spec.DataType == DataType.Bytes ? Tensor.LengthPrefix : spec.DataType.Size());

    private static long[] Shape(TensorSpec spec, int rows) =>
        [.. spec.Shape.Select((size, axis) => size != -1 ? size : axis == 0 ? rows : 1)];
}
