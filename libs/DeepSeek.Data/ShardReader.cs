using System.Formats.Tar;

namespace DeepSeek.Data;

/// <summary>Reads the blocks of a shard one after the other.</summary>
public static class ShardReader
{
    private const long MaxEntry = 1L << 30;

    /// <summary>The blocks, in file order; one is in memory at a time.</summary>
    /// <exception cref="InvalidDataException">The shard is damaged: the message names the entry.</exception>
    public static IEnumerable<ShardBlock> Read(Stream shard)
    {
        using var tar = new TarReader(shard, leaveOpen: true);
        NpyArray? features = null;
        string? key = null;
        while (Next(tar) is { } entry)
        {
            var dot = entry.Name.IndexOf('.', StringComparison.Ordinal);
            var (name, part) = dot < 0 ? (entry.Name, "") : (entry.Name[..dot], entry.Name[(dot + 1)..]);
            switch (part)
            {
                case "features.npy" when features is null:
                    (key, features) = (name, Array(entry));
                    break;
                case "target.npy" when features is not null && name == key:
                    var block = new ShardBlock(features, Array(entry));
                    features = null;
                    yield return block.Features.Shape is [var rows, ..] && block.Target.Shape is [var targets] && rows == targets
                        ? block
                        : throw new InvalidDataException($"Block '{key}' of the shard has features ({string.Join(", ", block.Features.Shape)}) and targets ({string.Join(", ", block.Target.Shape)}).");
                    break;
                default:
                    throw new InvalidDataException($"Unexpected entry '{entry.Name}' in the shard: each block is KEY.features.npy followed by KEY.target.npy.");
            }
        }

        if (features is not null)
        {
            throw new InvalidDataException($"The shard ends within block '{key}'.");
        }
    }

    private static TarEntry? Next(TarReader tar)
    {
        try
        {
            return tar.GetNextEntry();
        }
        catch (Exception fault) when (fault is EndOfStreamException or FormatException)
        {
            throw new InvalidDataException("The shard is no whole tar file.", fault);
        }
    }

    private static NpyArray Array(TarEntry entry)
    {
        if (entry.DataStream is not { } stream || entry.Length > MaxEntry)
        {
            throw new InvalidDataException($"Entry '{entry.Name}' of the shard holds no array or is larger than {MaxEntry >> 20} MiB.");
        }

        var bytes = new byte[entry.Length];
        try
        {
            stream.ReadExactly(bytes);
            return NpyArray.Parse(bytes);
        }
        catch (Exception fault) when (fault is EndOfStreamException or InvalidDataException)
        {
            throw new InvalidDataException($"Entry '{entry.Name}' of the shard is damaged: {fault.Message}", fault);
        }
    }
}
