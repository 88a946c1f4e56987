using System.Text.Json;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Rows;

/// <summary>Reads <c>{"rows": [{column: value, …}, …]}</c> straight into the model's input tensors.</summary>
internal static class RowReader
{
    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = JsonInferRequest.MaxDepth };

    /// <exception cref="RowException">A row or column does not fit.</exception>
    /// <exception cref="InferenceException">The body is no JSON.</exception>
    public static InferenceWork Read(ReadOnlyMemory<byte> body, RowModel model)
    {
        var reader = new Utf8JsonReader(body.Span, ReaderOptions);
        try
        {
            return Read(ref reader, model);
        }
        catch (JsonException fault)
        {
            throw JsonText.Fault(fault, body.Span, reader.BytesConsumed, "null for a number that is not known");
        }
    }

    private static InferenceWork Read(ref Utf8JsonReader reader, RowModel model)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw new RowException("body", "must be an object with 'rows'.");
        }

        var columns = model.Columns.Select(ColumnData.Of).ToArray();
        var rows = -1;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (!reader.ValueTextEquals("rows"u8))
            {
                throw new RowException(Name(ref reader), "is not a member of this document; it has 'rows' only.");
            }

            if (rows >= 0)
            {
                throw new RowException("rows", "is given twice.");
            }

            reader.Read();
            rows = ReadRows(ref reader, model, columns);
        }

        reader.Read();
        return rows switch
        {
            -1 => throw new RowException("rows", "is missing; send an array of objects, one per row."),
            0 => throw new RowException("rows", "is empty; send at least one row."),
            _ => new InferenceWork([.. columns.Select(c => c.ToTensor(rows))], rows, []),
        };
    }

    private static int ReadRows(ref Utf8JsonReader reader, RowModel model, ColumnData[] columns)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new RowException("rows", "must be an array of objects, one per row.");
        }

        var row = 0;
        var seen = new bool[columns.Length];
        for (; reader.Read() && reader.TokenType != JsonTokenType.EndArray; row++)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                throw new RowException($"rows[{row}]", "must be an object of columns and values.");
            }

            Array.Clear(seen);
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                ReadColumn(ref reader, model, columns, seen, row);
            }

            var missing = Array.IndexOf(seen, false);
            if (missing >= 0)
            {
                throw new RowException(
                    $"rows[{row}].{model.Columns[missing].Name}", "is missing; send null for a value that is not known.");
            }
        }

        return row;
    }

    private static void ReadColumn(ref Utf8JsonReader reader, RowModel model, ColumnData[] columns, bool[] seen, int row)
    {
        var name = Name(ref reader);
        if (!model.TryFind(name, out var index))
        {
            throw new RowException(
                $"rows[{row}].{(name.Length > 64 ? name[..64] + "…" : name)}",
                $"is no column of this model; its columns are {string.Join(", ", model.Columns.Take(50).Select(c => $"'{c.Name}'"))}.");
        }

        if (seen[index])
        {
            throw new RowException($"rows[{row}].{name}", "is given twice.");
        }

        seen[index] = true;
        reader.Read();
        if (columns[index].Read(ref reader) is { } wanted)
        {
            throw new RowException($"rows[{row}].{name}", $"is {Found(ref reader)}; {wanted}");
        }
    }

    private static string Name(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw new RowException("rows", "holds a column name that is no valid Unicode text.");
        }
    }

    private static string Found(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.StartArray => "an array",
        JsonTokenType.StartObject => "an object",
        JsonTokenType.Null => "null",
        _ => JsonText.Shorten(reader.ValueSpan),
    };
}
