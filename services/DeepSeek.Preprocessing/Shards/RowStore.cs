using System.Runtime.InteropServices;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Columns;

namespace DeepSeek.Preprocessing.Shards;

/// <summary>What a row's features are.</summary>
internal enum RowElement
{
    Float,

    /// <summary>Of pictures.</summary>
    Byte,

    /// <summary>Of text, 16 bits.</summary>
    Token,
}

/// <summary>How rows of one part are laid down before they become shards.</summary>
/// <param name="RowShape">Shape of one row: [F], [C, H, W] or [T].</param>
/// <param name="Element">Type of the features.</param>
/// <param name="ClassTarget">Targets are class indices, not numbers.</param>
/// <param name="BlockRows">Rows of a block.</param>
internal sealed record RowLayout(IReadOnlyList<int> RowShape, RowElement Element, bool ClassTarget, int BlockRows)
{
    public int FeatureBytes => RowShape.Aggregate(Element switch { RowElement.Byte => 1, RowElement.Token => sizeof(short), _ => sizeof(float) }, (product, d) => checked(product * d));

    /// <summary>NumPy's name of the type.</summary>
    public string Descriptor => Element switch { RowElement.Byte => "|u1", RowElement.Token => "<i2", _ => "<f4" };

    /// <summary>The target travels as 8 bytes, a double or a class index.</summary>
    public int RecordBytes => FeatureBytes + sizeof(long);
}

/// <summary>
/// Takes the rows of one part as they come and makes shards of them. For the train part each row goes to a shard drawn from the
/// seed and each shard is shuffled when it is written: a uniform shuffle of any number of rows in the memory of one shard.
/// </summary>
internal sealed class RowStore : IDisposable
{
    private readonly RowLayout _layout;
    private readonly string _directory;
    private readonly string _prefix;
    private readonly FileStream[] _files;
    private readonly long[] _rows;
    private readonly SeededRandom _random;
    private readonly byte[] _record;
    private readonly bool _shuffle;
    private readonly long _rowsPerShard;
    private long _next;

    /// <param name="layout">Of the rows.</param>
    /// <param name="expectedRows">Of this part, as the split counted them; only the number of shards depends on it.</param>
    /// <param name="shardBytes">Aimed at for one shard.</param>
    /// <param name="directory">Private folder for what is not yet a shard.</param>
    /// <param name="prefix">Of the file names.</param>
    /// <param name="shuffle">Whether to shuffle.</param>
    /// <param name="seed">The dataset's.</param>
    public RowStore(RowLayout layout, long expectedRows, long shardBytes, string directory, string prefix, bool shuffle, ulong seed)
    {
        (_layout, _directory, _prefix, _shuffle) = (layout, directory, prefix, shuffle);
        var shards = (int)Math.Clamp((expectedRows * layout.RecordBytes + shardBytes - 1) / shardBytes, 1, 256);
        _rowsPerShard = Math.Max(1, (expectedRows + shards - 1) / shards);
        _files = new FileStream[shards];
        _rows = new long[shards];
        _random = new SeededRandom(seed, "shards/" + prefix);
        _record = new byte[layout.RecordBytes];
    }

    public long Rows => _rows.Sum();

    /// <summary>The record to fill for the next row: features, then the target's 8 bytes.</summary>
    public Span<float> Features => MemoryMarshal.Cast<byte, float>(_record.AsSpan(0, _layout.FeatureBytes));

    public Span<byte> Pixels => _record.AsSpan(0, _layout.FeatureBytes);

    public Span<short> Tokens => MemoryMarshal.Cast<byte, short>(_record.AsSpan(0, _layout.FeatureBytes));

    public void Add(long classIndex) => Add(BitConverter.GetBytes(classIndex));

    public void Add(double target) => Add(BitConverter.GetBytes(target));

    private void Add(byte[] target)
    {
        target.CopyTo(_record, _layout.FeatureBytes);
        var shard = _shuffle ? (int)_random.Next(_files.Length) : (int)Math.Min(_next++ / _rowsPerShard, _files.Length - 1);
        _files[shard] ??= new FileStream(PathOf(shard, "rows"), FileMode.Create, FileAccess.ReadWrite, FileShare.None, Math.Clamp(_layout.RecordBytes * 64, 4096, 1 << 16));
        _files[shard].Write(_record);
        _rows[shard]++;
    }

    /// <summary>Writes the shards one after the other; each file may be removed once it is uploaded.</summary>
    public IEnumerable<(string Path, int Rows)> WriteShards()
    {
        for (var shard = 0; shard < _files.Length; shard++)
        {
            if (_rows[shard] == 0)
            {
                continue;
            }
            var path = PathOf(shard, "tar");
            Write(shard, path);
            _files[shard].Dispose();
            File.Delete(PathOf(shard, "rows"));
            yield return (path, (int)_rows[shard]);
        }
    }

    public void Dispose()
    {
        foreach (var file in _files)
        {
            file?.Dispose();
        }
    }

    private void Write(int shard, string path)
    {
        var rows = (int)_rows[shard];
        var file = _files[shard];
        file.Flush();
        var order = Enumerable.Range(0, rows).ToArray();
        if (_shuffle)
        {
            for (var i = rows - 1; i > 0; i--)
            {
                var j = (int)_random.Next(i + 1);
                (order[i], order[j]) = (order[j], order[i]);
            }
        }
        using var output = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16);
        using var writer = new ShardWriter(output);
        for (var start = 0; start < rows; start += _layout.BlockRows)
        {
            writer.Write(Block(file, order.AsSpan(start, Math.Min(_layout.BlockRows, rows - start))));
        }
    }

    private ShardBlock Block(FileStream file, ReadOnlySpan<int> order)
    {
        var features = new byte[checked(order.Length * _layout.FeatureBytes)];
        var target = new byte[order.Length * (_layout.ClassTarget ? sizeof(long) : sizeof(float))];
        var record = new byte[_layout.RecordBytes];
        for (var i = 0; i < order.Length; i++)
        {
            // Positioned reads of one record: the file was just written and lies in the page cache.
            RandomAccess.Read(file.SafeFileHandle, record, (long)order[i] * record.Length);
            record.AsSpan(0, _layout.FeatureBytes).CopyTo(features.AsSpan(i * _layout.FeatureBytes));
            var value = record.AsSpan(_layout.FeatureBytes);
            if (_layout.ClassTarget)
            {
                value.CopyTo(target.AsSpan(i * sizeof(long)));
            }
            else
            {
                BitConverter.TryWriteBytes(target.AsSpan(i * sizeof(float)), (float)BitConverter.ToDouble(value));
            }
        }
        return new ShardBlock(
            new NpyArray(_layout.Descriptor, [order.Length, .. _layout.RowShape], features),
            new NpyArray(_layout.ClassTarget ? "<i8" : "<f4", [order.Length], target));
    }

    private string PathOf(int shard, string extension) => Path.Combine(_directory, $"{_prefix}-{shard:D4}.{extension}");
}
