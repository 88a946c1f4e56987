using System.Buffers;
using System.Text;
using System.Text.Unicode;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>
/// A strict CSV reader fed in pieces. It refuses what lenient readers guess at: ragged rows, stray and unclosed quotes, bytes
/// that are not text in the stated encoding, NUL, oversized fields, duplicate headers. Memory: one row.
/// </summary>
internal sealed class CsvIntake : ITableIntake
{
    private enum State { FieldStart, Bare, Quoted, AfterQuote }

    private readonly CanonicalCsvWriter _writer;
    private readonly CsvSpec _spec;
    private readonly TextLimits _limits;
    private readonly string _file;
    private readonly string _target;
    private readonly Predicate<string> _ignored;
    private readonly byte _quote;
    private readonly Decoder? _decoder;
    private readonly ColumnPresence _presence = new();
    private readonly ArrayBufferWriter<byte> _field = new(4096);
    private readonly ArrayBufferWriter<byte> _firstLine = new(4096);
    private readonly List<byte[]> _header = [];
    private List<string>? _names;
    private SearchValues<byte> _bareEnds = SearchValues.Create(ReadOnlySpan<byte>.Empty);
    private byte _delimiter;
    private State _state;
    private bool _afterReturn;
    private bool _started;
    private int _column;
    private long _row;
    private long _line = 1;

    public CsvIntake(Stream output, string file, CsvSpec spec, string target, Predicate<string> ignored, TextLimits limits)
    {
        (_file, _spec, _target, _ignored, _limits) = (file, spec, target, ignored, limits);
        _writer = new CanonicalCsvWriter(output, limits);
        _quote = (byte)spec.Quote[0];
        _decoder = TextEncodings.Find(spec.Encoding)?.GetDecoder();
        if (spec.Delimiter is { } delimiter)
        {
            UseDelimiter((byte)delimiter[0]);
        }
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (_decoder is null)
        {
            Utf8Bytes(bytes);
            return;
        }
        Span<char> characters = stackalloc char[2048];
        Span<byte> utf8 = stackalloc byte[2048 * 3];
        for (var done = false; !done;)
        {
            int taken, produced;
            try
            {
                _decoder.Convert(bytes, characters, flush: false, out taken, out produced, out done);
            }
            catch (DecoderFallbackException)
            {
                throw At(_row + 1, $"holds bytes that are not {_spec.Encoding}; state the right csv.encoding.");
            }
            Utf8Bytes(utf8[..Encoding.UTF8.GetBytes(characters[..produced], utf8)]);
            bytes = bytes[taken..];
        }
    }

    public TableFile Complete()
    {
        if (_delimiter == 0)
        {
            ChooseDelimiter();
        }
        if (_state == State.Quoted)
        {
            throw At(_names is null && _spec.Header ? 0 : _row + 1, $"the file ends inside a quoted field; a {(char)_quote} is missing.");
        }
        if (_state != State.FieldStart || _column > 0)
        {
            EndField();
            EndRow();
        }
        if (_names is null)
        {
            throw new DataFault("file", "is empty; a header and data rows are needed.");
        }
        _presence.Check(_names, _row, _target, _ignored);
        return new TableFile(_file, TableForm.CanonicalCsv, [.. _names.Select(n => new TableColumn(n, CellKind.Text))], _row);
    }

    private void Utf8Bytes(ReadOnlySpan<byte> bytes)
    {
        if (_started && _delimiter != 0)
        {
            Scan(bytes);
            return;
        }
        // The beginning is held back until its first line is whole: it may open with a byte order mark and tells the delimiter.
        _firstLine.Write(bytes);
        var held = _firstLine.WrittenSpan;
        var lineEnd = held.TrimStart("\r\n"u8).IndexOfAny((byte)'\n', (byte)'\r');
        if (lineEnd < 0 && held.Length < _limits.MaxRowBytes)
        {
            return;
        }
        ChooseDelimiter();
    }

    private void ChooseDelimiter()
    {
        var held = _firstLine.WrittenSpan;
        if (held.StartsWith("\uFEFF"u8))
        {
            held = held[3..];
        }
        if (_delimiter == 0)
        {
            var line = held.TrimStart("\r\n"u8);
            line = line.IndexOfAny((byte)'\n', (byte)'\r') is var end and >= 0 ? line[..end] : line;
            var best = (byte)',';
            var most = 0;
            foreach (var candidate in ",;\t|"u8)
            {
                if (line.Count(candidate) > most)
                {
                    (best, most) = (candidate, line.Count(candidate));
                }
            }
            UseDelimiter(best);
        }
        _started = true;
        Scan(held);
        _firstLine.Clear();
    }

    private void UseDelimiter(byte delimiter)
    {
        _delimiter = delimiter;
        _bareEnds = SearchValues.Create([delimiter, _quote, (byte)'\r', (byte)'\n']);
    }

    private void Scan(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var first = bytes[0];
            if (_afterReturn)
            {
                _afterReturn = false;
                if (first == '\n')
                {
                    bytes = bytes[1..];
                    continue;
                }
            }
            switch (_state)
            {
                case State.FieldStart when first == _quote:
                    _state = State.Quoted;
                    bytes = bytes[1..];
                    break;
                case State.FieldStart:
                    _state = State.Bare;
                    break;
                case State.Bare:
                    bytes = Bare(bytes);
                    break;
                case State.Quoted:
                    bytes = Quoted(bytes);
                    break;
                case State.AfterQuote when first == _quote:
                    Keep(bytes[..1]);
                    _state = State.Quoted;
                    bytes = bytes[1..];
                    break;
                case State.AfterQuote when first == _delimiter || first is (byte)'\r' or (byte)'\n':
                    bytes = FieldEnd(first, bytes);
                    break;
                default:
                    throw Cell($"text follows the closing {(char)_quote}; double the quotes inside a quoted field.");
            }
        }
    }

    private ReadOnlySpan<byte> Bare(ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOfAny(_bareEnds);
        if (end < 0)
        {
            Keep(bytes);
            return [];
        }
        Keep(bytes[..end]);
        return bytes[end] == _quote
            ? throw Cell($"a {(char)_quote} stands inside an unquoted field; quote the whole field and double the inner quotes.")
            : FieldEnd(bytes[end], bytes[end..]);
    }

    private ReadOnlySpan<byte> Quoted(ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOf(_quote);
        var content = end < 0 ? bytes : bytes[..end];
        _line += content.Count((byte)'\n');
        Keep(content);
        if (end < 0)
        {
            return [];
        }
        _state = State.AfterQuote;
        return bytes[(end + 1)..];
    }

    private ReadOnlySpan<byte> FieldEnd(byte end, ReadOnlySpan<byte> bytes)
    {
        EndField();
        if (end != _delimiter)
        {
            _afterReturn = end == '\r';
            EndRow();
            _line++;
        }
        return bytes[1..];
    }

    private void Keep(ReadOnlySpan<byte> bytes)
    {
        if (_field.WrittenCount + bytes.Length > _limits.MaxFieldBytes)
        {
            throw Cell($"longer than {_limits.MaxFieldBytes:N0} bytes{(_state == State.Quoted ? $"; a closing {(char)_quote} may be missing" : "")}.");
        }
        _field.Write(bytes);
    }

    private void EndField()
    {
        var value = _field.WrittenSpan;
        if (value.Contains((byte)0))
        {
            throw Cell("holds a NUL byte; the file is not text.");
        }
        if (!Utf8.IsValid(value))
        {
            throw Cell("is not valid UTF-8; convert the file or state csv.encoding.");
        }
        if (_names is null)
        {
            _header.Add(value.ToArray());
        }
        else if (_column < _names.Count)
        {
            _presence.Value(_column, value);
            _writer.Field(value, _row + 1);
        }
        _blank = _column == 0 && value.IsEmpty && _state != State.AfterQuote;
        _column++;
        _field.ResetWrittenCount();
        _state = State.FieldStart;
    }

    private bool _blank;

    private void EndRow()
    {
        var fields = _column;
        _column = 0;
        if (_blank && fields == 1)
        {
            _header.Clear();
            _writer.DropRow();
            return;
        }
        if (_names is null)
        {
            _names = ColumnNames.FromHeader(_header, _spec.Header, _limits);
            if (_spec.Header)
            {
                if (!_names.Contains(_target))
                {
                    throw ColumnPresence.MissingTarget(_names, _target);
                }
                return;
            }
            for (var column = 0; column < fields; column++)
            {
                _presence.Value(column, _header[column]);
                _writer.Field(_header[column], 1);
            }
        }
        _row++;
        if (fields != _names.Count)
        {
            throw At(_row, $"has {fields} fields where the {(_spec.Header ? "header" : "first row")} has {_names.Count}.");
        }
        _writer.EndRow(fields);
    }

    private DataFault At(long row, string detail) =>
        row == 0 ? new DataFault("file", $"header: {detail}") : new DataFault("file", $"row {row} (line {_line}) {detail}");

    private DataFault Cell(string detail)
    {
        if (_names is null && _spec.Header)
        {
            return new DataFault("file", $"header, column {_column + 1}: {detail}");
        }
        var name = _names is not null && _column < _names.Count ? $"'{DataFault.Shown(_names[_column])}'" : $"{_column + 1}";
        return new DataFault("file", $"row {_row + 1} (line {_line}), column {name}: {detail}");
    }
}
