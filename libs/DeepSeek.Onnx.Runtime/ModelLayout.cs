using System.Text;

namespace DeepSeek.Onnx.Runtime;

/// <summary>
/// What a serialised model says of the platform's operators, found by the file's outermost fields alone: weights are passed over, so that a
/// large model costs neither time nor memory.
/// </summary>
/// <param name="UsesPlatform">Whether it imports the platform's domain.</param>
/// <param name="Functions">Where the functions of that domain stand: offsets of the first byte and behind the last.</param>
internal sealed record ModelLayout(bool UsesPlatform, IReadOnlyList<(long Start, long End)> Functions)
{
    // ModelProto.opset_import and .functions; OperatorSetIdProto.domain; FunctionProto.domain.
    private const int OpsetImport = 8;
    private const int Function = 25;
    private const int OpsetDomain = 1;
    private const int FunctionDomain = 10;

    /// <summary>Reads a stream that can seek, from its beginning.</summary>
    /// <exception cref="InvalidOnnxException">It is no protobuf message.</exception>
    public static ModelLayout Of(Stream model)
    {
        var (uses, functions) = (false, new List<(long, long)>());
        model.Position = 0;
        Walk(model, model.Length, (field, start, content, end) =>
        {
            if (field is OpsetImport or Function && Domain(model, content, end, field == Function ? FunctionDomain : OpsetDomain) == BlockSparseNode.Domain)
            {
                uses |= field == OpsetImport;
                if (field == Function)
                {
                    functions.Add((start, end));
                }
            }
        });
        return new(uses, functions);
    }

    /// <summary>The model's bytes without those functions.</summary>
    public byte[] WithoutFunctions(Stream model)
    {
        var bytes = new byte[model.Length - Functions.Sum(f => f.End - f.Start)];
        var (filled, from) = (0, 0L);
        foreach (var (start, end) in Functions.Append((model.Length, model.Length)))
        {
            model.Position = from;
            var part = bytes.AsSpan(filled, (int)(start - from));
            model.ReadExactly(part);
            (filled, from) = (filled + part.Length, end);
        }
        return bytes;
    }

    private static string Domain(Stream model, long content, long end, int number)
    {
        var domain = "";
        model.Position = content;
        Walk(model, end, (field, _, start, stop) =>
        {
            if (field == number)
            {
                var text = new byte[Math.Min(stop - start, 64)];
                model.Position = start;
                model.ReadExactly(text);
                domain = Encoding.UTF8.GetString(text);
            }
        });
        return domain;
    }

    /// <summary>Visits the fields that have a length: number, where the field and where its content begins, and where it ends.</summary>
    private static void Walk(Stream model, long end, Action<int, long, long, long> visit)
    {
        while (model.Position < end)
        {
            var start = model.Position;
            var tag = Number(model);
            switch (tag & 7)
            {
                case 0:
                    Number(model);
                    break;
                case 1:
                    model.Position += 8;
                    break;
                case 2:
                    var length = (long)Number(model);
                    var content = model.Position;
                    if (length < 0 || length > end - content)
                    {
                        throw Broken();
                    }
                    visit((int)(tag >> 3), start, content, content + length);
                    model.Position = content + length;
                    break;
                case 5:
                    model.Position += 4;
                    break;
                default:
                    throw Broken();
            }
        }
    }

    private static ulong Number(Stream model)
    {
        var number = 0UL;
        for (var shift = 0; shift < 64; shift += 7)
        {
            var part = model.ReadByte();
            if (part < 0)
            {
                break;
            }
            number |= (ulong)(part & 0x7f) << shift;
            if (part < 0x80)
            {
                return number;
            }
        }
        throw Broken();
    }

    private static InvalidOnnxException Broken() => new("The bytes are not an ONNX model.");
}
