using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Inference.Protocol;

namespace DeepSeek.Inference.Rows;

/// <summary>
/// Texts on their way into a tensor of tokens: each begins as a document does, and of one that is longer than the model sees the end
/// stays. Shorter rows are filled up behind their last token.
/// </summary>
internal sealed class TextData(RowColumn column) : ColumnData(column)
{
    private readonly List<long[]> _rows = [];

    public override string? Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            return "it must be text; an empty one asks how documents begin.";
        }

        try
        {
            _rows.Add(Tokens(Encoding.UTF8.GetBytes(reader.GetString()!), Column.Context));
        }
        catch (InvalidOperationException)
        {
            return "it must be valid Unicode text.";
        }

        return null;
    }

    public override Tensor ToTensor(long rows) => ToTensor(Column.Input.Name, _rows);

    /// <summary>int64 [rows, tokens of the longest].</summary>
    public static Tensor ToTensor(string name, IReadOnlyList<long[]> rows)
    {
        var length = rows.Max(r => r.Length);
        var data = new byte[checked(rows.Count * length * sizeof(long))];
        for (var row = 0; row < rows.Count; row++)
        {
            for (var i = 0; i < length; i++)
            {
                BinaryPrimitives.WriteInt64LittleEndian(data.AsSpan(((row * length) + i) * sizeof(long)), i < rows[row].Length ? rows[row][i] : ByteTokens.Padding);
            }
        }

        return new(name, DataType.Int64, [rows.Count, length], data);
    }

    /// <summary>A separator and the bytes; the last ones when there are more than the model sees.</summary>
    public static long[] Tokens(ReadOnlySpan<byte> text, int context)
    {
        var kept = Math.Min(text.Length + 1, context);
        var tokens = new long[kept];
        for (var i = 0; i < kept; i++)
        {
            var at = text.Length - kept + i;
            tokens[i] = at < 0 ? ByteTokens.Separator : text[at];
        }

        return tokens;
    }
}
