using System.Buffers;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>Writes rows in the one dialect that is read back: comma, double quotes, \n, no header.</summary>
internal sealed class CanonicalCsvWriter(Stream output, TextLimits limits)
{
    private static readonly SearchValues<byte> NeedsQuotes = SearchValues.Create(",\"\r\n"u8);

    private readonly ArrayBufferWriter<byte> _row = new(64 * 1024);
    private int _fields;

    public void Field(ReadOnlySpan<byte> value, long row)
    {
        if (_fields++ > 0)
        {
            _row.Write(","u8);
        }
        if (value.IndexOfAny(NeedsQuotes) < 0)
        {
            _row.Write(value);
        }
        else
        {
            _row.Write("\""u8);
            for (var quote = value.IndexOf((byte)'"'); quote >= 0; quote = value.IndexOf((byte)'"'))
            {
                _row.Write(value[..(quote + 1)]);
                _row.Write("\""u8);
                value = value[(quote + 1)..];
            }
            _row.Write(value);
            _row.Write("\""u8);
        }
        if (_row.WrittenCount > limits.MaxRowBytes)
        {
            throw DataFault.AtRow(row, $"longer than {limits.MaxRowBytes:N0} bytes; split the table or drop columns.");
        }
    }

    /// <summary>Ends the row; <paramref name="columns"/> more than written are left empty.</summary>
    public void EndRow(int columns)
    {
        for (; _fields < columns; _fields++)
        {
            _row.Write(","u8);
        }
        // A lone empty field would be a blank line, which readers skip.
        if (_row.WrittenCount == 0)
        {
            _row.Write("\"\""u8);
        }
        _row.Write("\n"u8);
        output.Write(_row.WrittenSpan);
        _row.ResetWrittenCount();
        _fields = 0;
    }

    public void DropRow()
    {
        _row.ResetWrittenCount();
        _fields = 0;
    }
}
