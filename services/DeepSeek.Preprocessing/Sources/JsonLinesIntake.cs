using System.Buffers;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>
/// One JSON object of scalars a line. A column is born with the first row that names it; rows without it have no value there.
/// </summary>
internal sealed class JsonLinesIntake(Stream output, string file, string target, Predicate<string> ignored, TextLimits limits) : ITableIntake
{
    private static readonly JsonReaderOptions Options = new() { MaxDepth = 4, CommentHandling = JsonCommentHandling.Disallow };

    private readonly CanonicalCsvWriter _writer = new(output, limits);
    private readonly ColumnPresence _presence = new();
    private readonly ArrayBufferWriter<byte> _line = new(64 * 1024);
    private readonly List<string> _names = [];
    private readonly Dictionary<string, int> _columns = new(StringComparer.Ordinal);
    private (byte[] Value, int Length, long Row)[] _values = [];
    private bool _started;
    private long _row;
    private long _lineNumber;

    public void Append(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var end = bytes.IndexOf((byte)'\n');
            var piece = end < 0 ? bytes : bytes[..end];
            if (_line.WrittenCount + piece.Length > limits.MaxRowBytes)
            {
                throw At($"longer than {limits.MaxRowBytes:N0} bytes; JSON Lines holds one object a line.", 1);
            }
            _line.Write(piece);
            if (end < 0)
            {
                return;
            }
            EndLine();
            bytes = bytes[(end + 1)..];
        }
    }

    public TableFile Complete()
    {
        EndLine();
        ColumnNames.Check(_names);
        _presence.Check(_names, _row, target, ignored);
        return new TableFile(file, TableForm.CanonicalCsv, [.. _names.Select(n => new TableColumn(n, CellKind.Text))], _row);
    }

    private void EndLine()
    {
        _lineNumber++;
        var line = _line.WrittenSpan;
        if (!_started && line.StartsWith("\uFEFF"u8))
        {
            line = line[3..];
        }
        _started = true;
        line = line.Trim(" \t\r"u8);
        if (!line.IsEmpty)
        {
            _row++;
            Object(line);
            WriteRow();
        }
        _line.ResetWrittenCount();
    }

    private void Object(ReadOnlySpan<byte> line)
    {
        var reader = new Utf8JsonReader(line, Options);
        try
        {
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            {
                throw At("is not a JSON object; each line is one object such as {\"age\": 41, \"city\": \"Lyon\"}.");
            }
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var column = Column(reader.GetString()!);
                reader.Read();
                Value(ref reader, column);
            }
            if (reader.Read())
            {
                throw At("holds more than one JSON value.");
            }
        }
        catch (JsonException fault)
        {
            throw At($"is not valid JSON at byte {fault.BytePositionInLine}; nesting deeper than one object is not read.");
        }
        catch (InvalidOperationException)
        {
            // Utf8JsonReader's word for text that is not UTF-8 or for half a surrogate pair.
            throw At("holds text that is not valid Unicode.");
        }
    }

    private int Column(string name)
    {
        if (_columns.TryGetValue(name, out var known))
        {
            return known;
        }
        if (_names.Count == limits.MaxColumns)
        {
            throw At($"brings the number of distinct keys above {limits.MaxColumns}.");
        }
        if (name.Length is 0 or > ColumnNames.MaxLength || name.Any(char.IsControl))
        {
            throw At($"has a key that is empty, longer than {ColumnNames.MaxLength} characters or holds control characters.");
        }
        _columns.Add(name, _names.Count);
        _names.Add(name);
        Array.Resize(ref _values, _names.Count);
        _values[^1] = (new byte[32], 0, 0);
        return _names.Count - 1;
    }

    private void Value(ref Utf8JsonReader reader, int column)
    {
        ref var slot = ref _values[column];
        if (slot.Row == _row)
        {
            throw At($"names the key '{DataFault.Shown(_names[column])}' twice.");
        }
        slot.Row = _row;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                slot.Length = 0;
                break;
            case JsonTokenType.True or JsonTokenType.False or JsonTokenType.Number:
                Store(ref slot, reader.ValueSpan);
                break;
            case JsonTokenType.String:
                var needed = reader.ValueSpan.Length;
                if (needed > limits.MaxFieldBytes)
                {
                    throw DataFault.At(_row, _names[column], $"longer than {limits.MaxFieldBytes:N0} bytes.");
                }
                Grow(ref slot, needed);
                slot.Length = reader.CopyString(slot.Value);
                if (slot.Value.AsSpan(0, slot.Length).Contains((byte)0))
                {
                    throw DataFault.At(_row, _names[column], "holds a NUL character.");
                }
                break;
            default:
                throw DataFault.At(_row, _names[column], "is an object or array; only text, numbers, true, false and null are read. Flatten it first.");
        }
        _presence.Value(column, slot.Value.AsSpan(0, slot.Length));
    }

    private static void Store(ref (byte[] Value, int Length, long Row) slot, ReadOnlySpan<byte> bytes)
    {
        Grow(ref slot, bytes.Length);
        bytes.CopyTo(slot.Value);
        slot.Length = bytes.Length;
    }

    private static void Grow(ref (byte[] Value, int Length, long Row) slot, int needed)
    {
        if (slot.Value.Length < needed)
        {
            slot.Value = new byte[Math.Max(needed, slot.Value.Length * 2)];
        }
    }

    private void WriteRow()
    {
        foreach (var (value, length, row) in _values)
        {
            _writer.Field(row == _row ? value.AsSpan(0, length) : [], _row);
        }
        _writer.EndRow(_names.Count);
    }

    private DataFault At(string detail, int ahead = 0) =>
        new("file", $"row {_row + ahead} (line {_lineNumber + ahead}) {detail}");
}
