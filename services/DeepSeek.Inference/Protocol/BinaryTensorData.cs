using System.Buffers.Binary;

namespace DeepSeek.Inference.Protocol;

/// <summary>Checks of tensors that came as binary data: nothing in them may be trusted.</summary>
internal static class BinaryTensorData
{
    /// <summary>Throws unless the data holds exactly the elements its shape and datatype want.</summary>
    public static void Check(Tensor tensor)
    {
        var what = $"Input {JsonText.Shorten(tensor.Name)}";
        var size = Math.Max(tensor.DataType.Size(), Tensor.LengthPrefix * (tensor.DataType == DataType.Bytes ? 1 : 0));
        if (!Shapes.TryCount(tensor.Shape, tensor.Data.Length / size, out var count))
        {
            throw InferenceException.BadRequest(
                $"{what}: {tensor.Data.Length} bytes of binary data are too few for {tensor.DataType.Name()} {Shapes.Text(tensor.Shape)}.");
        }

        if (tensor.DataType == DataType.Bytes)
        {
            CheckStrings(tensor.Data.Span, count, what);
            return;
        }

        if (count * size != tensor.Data.Length)
        {
            throw InferenceException.BadRequest(
                $"{what}: {tensor.DataType.Name()} {Shapes.Text(tensor.Shape)} takes {count * size} bytes of binary data, not {tensor.Data.Length}.");
        }

        // A BOOL is one byte, 0 or 1: any other value would be a bool that is neither true nor false to native code.
        if (tensor.DataType == DataType.Bool && tensor.Data.Span.ContainsAnyExceptInRange((byte)0, (byte)1))
        {
            throw InferenceException.BadRequest($"{what}: a BOOL element of the binary data is neither 0 nor 1.");
        }
    }

    private static void CheckStrings(ReadOnlySpan<byte> data, long count, string what)
    {
        for (var element = 0L; element < count; element++)
        {
            if (data.Length < Tensor.LengthPrefix)
            {
                throw InferenceException.BadRequest($"{what}: the binary data ends before element {element} of {count}.");
            }

            var length = BinaryPrimitives.ReadUInt32LittleEndian(data);
            data = data[Tensor.LengthPrefix..];
            if (length > data.Length)
            {
                throw InferenceException.BadRequest(
                    $"{what}: element {element} says it has {length} bytes, but {data.Length} are left in the binary data.");
            }

            data = data[(int)length..];
        }

        if (!data.IsEmpty)
        {
            throw InferenceException.BadRequest($"{what}: {data.Length} bytes of binary data are left over after {count} elements.");
        }
    }
}
