using System.Formats.Tar;
using System.Globalization;

namespace DeepSeek.Data;

/// <summary>Writes one shard: a tar file in WebDataset form. Equal blocks give equal bytes.</summary>
public sealed class ShardWriter(Stream target) : IDisposable
{
    private readonly TarWriter _tar = new(target, TarEntryFormat.Ustar, leaveOpen: true);
    private int _blocks;

    /// <summary>Rows written so far.</summary>
    public int Rows { get; private set; }

    /// <summary>Appends a block.</summary>
    public void Write(ShardBlock block)
    {
        if (block.Features.Shape[0] != block.Rows)
        {
            throw new ArgumentException($"The block has {block.Features.Shape[0]} rows of features and {block.Rows} targets.", nameof(block));
        }

        var key = _blocks++.ToString("D6", CultureInfo.InvariantCulture);
        Write($"{key}.features.npy", block.Features);
        Write($"{key}.target.npy", block.Target);
        Rows += block.Rows;
    }

    /// <summary>Ends the archive; the stream stays open.</summary>
    public void Dispose() => _tar.Dispose();

    private void Write(string name, NpyArray array) => _tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name)
    {
        DataStream = new MemoryStream(array.ToBytes()),
        ModificationTime = DateTimeOffset.UnixEpoch,
    });
}
