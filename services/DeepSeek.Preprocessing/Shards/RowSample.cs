using System.Buffers;
using System.IO.Compression;
using System.Text.Json;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Shards;

/// <summary>
/// A uniform sample of one part's raw (masked) rows: Vitter's algorithm R (1985), seeded, bounded in rows and bytes, in file order.
/// </summary>
internal sealed class RowSample(TablePlan plan, int capacity, ulong seed, string part)
{
    private readonly ColumnPlan[] _inputs = [.. plan.Features];
    private readonly List<(long Row, byte[] Json)> _kept = [];
    private readonly SeededRandom _random = new(seed, "sample/" + part);
    private readonly ArrayBufferWriter<byte> _buffer = new(1024);
    private long _seen;

    public int Rows => _kept.Count;

    public void Add(RowBatch batch, int row)
    {
        var place = _seen < capacity ? _seen : _random.Next(_seen + 1);
        _seen++;
        if (place >= capacity)
        {
            return;
        }
        var line = (_seen, Line(batch, row));
        if (place == _kept.Count)
        {
            _kept.Add(line);
        }
        else
        {
            _kept[(int)place] = line;
        }
    }

    /// <summary>Gzip JSON Lines of {"inputs": {column: value}, "target": class name or number}.</summary>
    public void Write(Stream output)
    {
        using var gzip = new GZipStream(output, CompressionLevel.Optimal, leaveOpen: true);
        foreach (var (_, json) in _kept.OrderBy(k => k.Row))
        {
            gzip.Write(json);
            gzip.Write("\n"u8);
        }
    }

    private byte[] Line(RowBatch batch, int row)
    {
        _buffer.ResetWrittenCount();
        using var json = new Utf8JsonWriter(_buffer);
        json.WriteStartObject();
        json.WriteStartObject("inputs");
        foreach (var column in _inputs)
        {
            json.WritePropertyName(column.Name);
            if (column.Type == ColumnType.Categorical)
            {
                var text = batch.Texts[column.Index][row];
                if (text.Length == 0)
                {
                    json.WriteNullValue();
                }
                else
                {
                    json.WriteStringValue(text);
                }
                continue;
            }
            var value = batch.Numbers[column.Index][row];
            if (double.IsNaN(value))
            {
                json.WriteNullValue();
            }
            else if (column.Type == ColumnType.Boolean)
            {
                json.WriteBooleanValue(value != 0);
            }
            else
            {
                json.WriteNumberValue(value);
            }
        }
        json.WriteEndObject();
        if (plan.Task == LearningTask.Classification)
        {
            json.WriteString("target", plan.Classes[batch.Classes[row]]);
        }
        else
        {
            json.WriteNumber("target", batch.Targets[row]);
        }
        json.WriteEndObject();
        json.Flush();
        return _buffer.WrittenSpan.ToArray();
    }
}
