using System.Globalization;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Protocol;

/// <summary>Tells the three forms of an inference request apart: JSON, JSON followed by binary data, one raw tensor.</summary>
internal static class InferRequestReader
{
    public const string HeaderLength = "Inference-Header-Content-Length";

    public static InferRequest Read(IHeaderDictionary headers, ReadOnlyMemory<byte> body, ModelSignature signature)
    {
        if (!headers.TryGetValue(HeaderLength, out var values))
        {
            return JsonInferRequest.Read(body, default);
        }

        if (!int.TryParse(values.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out var length) || length > body.Length)
        {
            throw InferenceException.BadRequest(
                $"{HeaderLength} is {JsonText.Shorten(values.ToString())}; it must be the length of the JSON in bytes, 0 to {body.Length}.");
        }

        return length == 0 ? Raw(body, signature) : JsonInferRequest.Read(body[..length], body[length..]);
    }

    /// <summary>The body is the only input's data; the size that varies follows from its length.</summary>
    private static InferRequest Raw(ReadOnlyMemory<byte> body, ModelSignature signature)
    {
        if (signature.Inputs is not [var input])
        {
            throw InferenceException.BadRequest(
                $"{HeaderLength}: 0 sends one raw tensor, but the model has {signature.Inputs.Count} inputs; send JSON with binary data.");
        }

        var shape = (long[])input.Shape.Clone();
        var varying = Array.FindAll(shape, s => s == -1).Length;
        var perUnit = shape.Where(s => s != -1).Aggregate(1L, (a, b) => a * b);
        if (input.DataType == DataType.Bytes)
        {
            return new InferRequest { Inputs = [RawString(body, input, shape, perUnit)], BinaryByDefault = true };
        }

        var unit = perUnit * input.DataType.Size();
        if (varying > 1 || unit == 0 || body.Length % unit != 0 || (varying == 0 && body.Length != unit))
        {
            throw InferenceException.BadRequest(
                $"{body.Length} bytes of raw data do not make {input.DataType.Name()} {Shapes.Text(input.Shape)} of input '{input.Name}' "
                + (varying > 1 ? "(more than one size varies: send JSON with a shape)." : $"({unit} bytes {(varying == 0 ? "in all" : "per row")})."));
        }

        for (var axis = 0; axis < shape.Length; axis++)
        {
            shape[axis] = shape[axis] == -1 ? body.Length / unit : shape[axis];
        }

        var tensor = new Tensor(input.Name, input.DataType, shape, body);
        BinaryTensorData.Check(tensor);
        return new InferRequest { Inputs = [tensor], BinaryByDefault = true };
    }

    private static Tensor RawString(ReadOnlyMemory<byte> body, TensorSpec input, long[] shape, long perUnit)
    {
        if (perUnit != 1)
        {
            throw InferenceException.BadRequest($"A raw BYTES request is one element, but input '{input.Name}' is {Shapes.Text(input.Shape)}.");
        }

        var data = new byte[Tensor.LengthPrefix + body.Length];
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(data, body.Length);
        body.Span.CopyTo(data.AsSpan(Tensor.LengthPrefix));
        return new Tensor(input.Name, input.DataType, [.. shape.Select(s => Math.Max(s, 1))], data);
    }
}
