using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using DeepSeek.Inference.Protocol;

namespace DeepSeek.Inference.Rows;

/// <summary>One column's values on their way into a tensor.</summary>
internal abstract class ColumnData(RowColumn column)
{
    protected RowColumn Column { get; } = column;

    protected ArrayBufferWriter<byte> Bytes { get; } = new(64);

    public static ColumnData Of(RowColumn column) => column.Type switch
    {
        ColumnType.Numeric => new NumericData(column),
        ColumnType.Boolean => new BooleanData(column),
        ColumnType.DateTime => new DateTimeData(column),
        ColumnType.Image => new ImageData(column),
        ColumnType.Text => new TextData(column),
        _ => new CategoricalData(column),
    };

    /// <summary>Takes the value under the reader; otherwise says what it should have been.</summary>
    public abstract string? Read(ref Utf8JsonReader reader);

    public virtual Tensor ToTensor(long rows)
    {
        var shape = (long[])Column.Input.Shape.Clone();
        shape[0] = rows;
        return new(Column.Input.Name, Column.Input.DataType, shape, Bytes.WrittenMemory);
    }

    protected void Add(double value)
    {
        if (Column.Input.DataType == DataType.Fp32)
        {
            BinaryPrimitives.WriteSingleLittleEndian(Bytes.GetSpan(sizeof(float)), (float)value);
            Bytes.Advance(sizeof(float));
        }
        else
        {
            BinaryPrimitives.WriteDoubleLittleEndian(Bytes.GetSpan(sizeof(double)), value);
            Bytes.Advance(sizeof(double));
        }
    }

    private sealed class NumericData(RowColumn column) : ColumnData(column)
    {
        public override string? Read(ref Utf8JsonReader reader)
        {
            if (reader.TokenType == JsonTokenType.Null)
            {
                Add(double.NaN);
                return null;
            }

            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetDouble(out var value) || !double.IsFinite(value)
                || (Column.Input.DataType == DataType.Fp32 && !float.IsFinite((float)value)))
            {
                return "it must be a finite number, or null when it is not known.";
            }

            Add(value);
            return null;
        }
    }

    private sealed class BooleanData(RowColumn column) : ColumnData(column)
    {
        public override string? Read(ref Utf8JsonReader reader)
        {
            double? value = reader.TokenType switch
            {
                JsonTokenType.True => 1,
                JsonTokenType.False => 0,
                JsonTokenType.Null => double.NaN,
                JsonTokenType.Number when reader.TryGetDouble(out var number) && number is 0 or 1 => number,
                _ => null,
            };
            if (value is null)
            {
                return "it must be true or false, or null when it is not known.";
            }

            Add(value.Value);
            return null;
        }
    }

    private sealed class DateTimeData(RowColumn column) : ColumnData(column)
    {
        private const string Wanted = "it must be an ISO 8601 date or date-time such as \"2024-05-01T12:30:00Z\" (without an offset: UTC), a number of seconds since 1970, or null when it is not known.";

        public override string? Read(ref Utf8JsonReader reader)
        {
            if (reader.TokenType == JsonTokenType.Null)
            {
                Add(double.NaN);
                return null;
            }

            if (reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out var seconds) && double.IsFinite(seconds))
            {
                Add(seconds);
                return null;
            }

            // A year comes first in ISO 8601; without this the parser would also guess at 01/02/2024.
            if (reader.TokenType != JsonTokenType.String || reader.GetString() is not { Length: >= 10 } text
                || text[4] != '-' || text[7] != '-' || !text.AsSpan(0, 4).ContainsOnlyDigits()
                || !DateTimeOffset.TryParse(
                    text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time))
            {
                return Wanted;
            }

            Add((time - DateTimeOffset.UnixEpoch).TotalSeconds);
            return null;
        }
    }

    private sealed class CategoricalData(RowColumn column) : ColumnData(column)
    {
        public override string? Read(ref Utf8JsonReader reader)
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.Null:
                    Append([]);
                    return null;
                case JsonTokenType.Number:
                case JsonTokenType.True:
                case JsonTokenType.False:
                    // A category that looks like a number or a truth value in the data is one here too.
                    Append(reader.ValueSpan);
                    return null;
                case JsonTokenType.String:
                    var span = Bytes.GetSpan(Tensor.LengthPrefix + reader.ValueSpan.Length);
                    int length;
                    try
                    {
                        length = reader.CopyString(span[Tensor.LengthPrefix..]);
                    }
                    catch (InvalidOperationException)
                    {
                        return "it must be valid Unicode text.";
                    }

                    // Preparation takes cells without the blanks around them, so a category never has any.
                    var text = span.Slice(Tensor.LengthPrefix, length).Trim(" \t"u8);
                    text.CopyTo(span[Tensor.LengthPrefix..]);
                    BinaryPrimitives.WriteUInt32LittleEndian(span, (uint)text.Length);
                    Bytes.Advance(Tensor.LengthPrefix + text.Length);
                    return null;
                default:
                    return "it must be a category (text), or null when it is not known.";
            }
        }

        private void Append(ReadOnlySpan<byte> text)
        {
            var span = Bytes.GetSpan(Tensor.LengthPrefix + text.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(span, (uint)text.Length);
            text.CopyTo(span[Tensor.LengthPrefix..]);
            Bytes.Advance(Tensor.LengthPrefix + text.Length);
        }
    }

    private sealed class ImageData(RowColumn column) : ColumnData(column)
    {
        public override string? Read(ref Utf8JsonReader reader)
        {
            var shape = Column.Input.Shape[1..];
            var wanted = $"it must be an array of {Shapes.Text(shape)} bytes (0 to 255), flat or nested.";
            if (reader.TokenType != JsonTokenType.StartArray)
            {
                return wanted;
            }

            Bytes.Write(JsonTensorData.Read(ref reader, $"Column '{Column.Name}'", DataType.UInt8, shape, int.MaxValue).Span);
            return null;
        }
    }
}

internal static class DigitSpans
{
    public static bool ContainsOnlyDigits(this ReadOnlySpan<char> text) => !text.ContainsAnyExceptInRange('0', '9');
}
