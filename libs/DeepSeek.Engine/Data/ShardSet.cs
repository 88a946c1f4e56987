using DeepSeek.Data;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Data;

/// <summary>One shard on disk and the rows its manifest promises.</summary>
public sealed record ShardFile(string Path, int Rows);

/// <summary>The shards of one split, all with the same row shape and types.</summary>
public sealed class ShardSet
{
    private const long FeaturesPerRowLimit = 1 << 26;

    /// <summary>Checks that the files are there and agree on nothing yet: contents are checked as they are read.</summary>
    /// <param name="shards">Files in order.</param>
    /// <param name="featureShape">Sizes of one row's features.</param>
    /// <param name="classes">Number of classes when targets are class indices (of tokens, when features are those); 0 for real numbers.</param>
    /// <param name="featureType">Float32; UInt8 for images; Int16 for tokens.</param>
    public ShardSet(IReadOnlyList<ShardFile> shards, IReadOnlyList<int> featureShape, int classes, Dtype featureType = Dtype.Float32)
    {
        foreach (var shard in shards)
        {
            if (!File.Exists(shard.Path))
            {
                throw new InvalidDataException($"Shard {shard.Path} is missing. Fetch the dataset's shards again.");
            }
        }
        Shards = shards;
        FeatureShape = [.. featureShape.Select(d => (long)d)];
        FeaturesPerRow = FeatureShape.Aggregate(1L, (product, size) => product * size);
        if (FeaturesPerRow is < 1 or > FeaturesPerRowLimit)
        {
            throw new InvalidDataException($"A row of shape [{string.Join(", ", featureShape)}] cannot be trained on.");
        }
        Classes = classes;
        FeatureType = featureType;
        TargetType = classes > 0 ? Dtype.Int64 : Dtype.Float32;
        RowBytes = (int)FeaturesPerRow * FeatureType.Size();
        TargetBytes = TargetType.Size();
        Rows = shards.Sum(s => (long)s.Rows);
    }

    /// <summary>Files in order.</summary>
    public IReadOnlyList<ShardFile> Shards { get; }

    /// <summary>Sizes of one row's features.</summary>
    public long[] FeatureShape { get; }

    /// <summary>Product of <see cref="FeatureShape"/>.</summary>
    public long FeaturesPerRow { get; }

    /// <summary>Number of classes; 0 when targets are real numbers.</summary>
    public int Classes { get; }

    /// <summary>Element type of features.</summary>
    public Dtype FeatureType { get; }

    /// <summary>Element type of targets.</summary>
    public Dtype TargetType { get; }

    /// <summary>Bytes of one row's features.</summary>
    public int RowBytes { get; }

    /// <summary>Bytes of one target.</summary>
    public int TargetBytes { get; }

    /// <summary>Rows of all shards.</summary>
    public long Rows { get; }

    /// <summary>The blocks of one shard, checked against what the set promises.</summary>
    public IEnumerable<ShardBlock> Read(int shard)
    {
        var file = Shards[shard];
        using var stream = new FileStream(file.Path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
        var rows = 0;
        foreach (var block in ShardReader.Read(stream))
        {
            Check(file.Path, block);
            rows += block.Rows;
            yield return block;
        }
        if (rows != file.Rows)
        {
            throw new InvalidDataException($"Shard {file.Path} has {rows} rows, its manifest says {file.Rows}. Prepare the dataset again.");
        }
    }

    private void Check(string path, ShardBlock block)
    {
        if (!block.Features.Shape.Skip(1).Select(d => (long)d).SequenceEqual(FeatureShape))
        {
            throw new InvalidDataException($"Shard {path} has features of shape [{string.Join(", ", block.Features.Shape)}]; the manifest says [rows, {string.Join(", ", FeatureShape)}].");
        }
        if (FeatureType == Dtype.UInt8)
        {
            block.Features.As<byte>();
        }
        else if (FeatureType == Dtype.Int16)
        {
            if (block.Features.As<short>().IndexOfAnyExceptInRange((short)0, (short)(Classes - 1)) is >= 0 and var odd)
            {
                throw new InvalidDataException($"Shard {path} holds token {block.Features.As<short>()[odd]}; there are {Classes} tokens.");
            }
        }
        else
        {
            var bad = block.Features.As<float>().IndexOfAnyExceptInRange(float.MinValue, float.MaxValue);
            if (bad >= 0)
            {
                throw new InvalidDataException($"Shard {path} holds a feature that is not finite (row {bad / FeaturesPerRow} of a block, feature {bad % FeaturesPerRow}).");
            }
        }
        if (Classes == 0)
        {
            if (block.Target.As<float>().IndexOfAnyExceptInRange(float.MinValue, float.MaxValue) is >= 0 and var bad)
            {
                throw new InvalidDataException($"Shard {path} holds a target that is not finite (row {bad} of a block).");
            }
        }
        else if (block.Target.As<long>().IndexOfAnyExceptInRange(0, Classes - 1) is >= 0 and var bad)
        {
            throw new InvalidDataException($"Shard {path} holds class {block.Target.As<long>()[bad]}; there are {Classes} classes.");
        }
    }
}
