using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Data;

public sealed class BatchLoaderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("deepseek-loader-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(1 << 20)]
    [InlineData(100)]
    public void Epoch_Shuffled_DeliversEachRowOnceInSeededOrder(long windowBytes)
    {
        var shards = Shards(7, 12, 5);

        var first = Rows(shards, new BatchOptions { BatchSize = 5, Seed = 1, Epochs = 2, WindowBytes = windowBytes });
        var again = Rows(shards, new BatchOptions { BatchSize = 5, Seed = 1, Epochs = 2, WindowBytes = windowBytes });
        var other = Rows(shards, new BatchOptions { BatchSize = 5, Seed = 2, Epochs = 2, WindowBytes = windowBytes });

        Assert.Equal(first, again);
        Assert.NotEqual(first, other);
        Assert.Equal(Enumerable.Range(0, 24), first[..24].Order());
        Assert.Equal(Enumerable.Range(0, 24), first[24..].Order());
        Assert.NotEqual(first[..24], first[24..]);
    }

    [Fact]
    public void Epoch_WithoutSeed_KeepsStoredOrder() =>
        Assert.Equal(Enumerable.Range(0, 24), Rows(Shards(7, 12, 5), new BatchOptions { BatchSize = 10 }));

    [Theory]
    [InlineData(1 << 20)]
    [InlineData(100)]
    public void Start_InTheMiddle_ContinuesAsUndisturbed(long windowBytes)
    {
        var shards = Shards(7, 12, 5);
        var options = new BatchOptions { BatchSize = 5, Seed = 3, Epochs = 3, WindowBytes = windowBytes };
        var whole = Rows(shards, options);

        for (var batch = 0; batch < 5; batch++)
        {
            Assert.Equal(whole[(24 + 5 * batch)..], Rows(shards, options with { Start = (1, batch) }));
        }
    }

    [Theory]
    [InlineData(23, 24)]
    [InlineData(24, 24)]
    public void LastBatch_TooShort_IsLeftOut(int batchSize, int rows) =>
        Assert.Equal(batchSize, Rows(Shards(rows), new BatchOptions { BatchSize = batchSize, LeastRows = 2 }).Count);

    [Fact]
    public void BatchesPerEpoch_CountsWhatIsDelivered()
    {
        Assert.Equal(5, BatchLoader.BatchesPerEpoch(24, 5, 2));
        Assert.Equal(4, BatchLoader.BatchesPerEpoch(21, 5, 2));
        Assert.Equal(5, BatchLoader.BatchesPerEpoch(21, 5, 1));
        Assert.Equal(0, BatchLoader.BatchesPerEpoch(1, 5, 2));
    }

    [Fact]
    public void Next_SteadyState_AllocatesNothingOnTheConsumer()
    {
        using var loader = new BatchLoader(Shards(40), new BatchOptions { BatchSize = 8, Seed = 1, Epochs = 200 });
        Consume(loader, 100);
        var before = GC.GetAllocatedBytesForCurrentThread();

        Consume(loader, 500);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Shard_Missing_NamesThePath() =>
        Assert.Contains("nowhere.tar", Assert.Throws<InvalidDataException>(() => new ShardSet([new ShardFile("/nowhere.tar", 1)], [2], 2)).Message);

    public static TheoryData<string, string> Damages => new()
    {
        { "cut", "" },
        { "text", "" },
        { "rows", "manifest says" },
        { "shape", "manifest says" },
        { "class", "holds class 9" },
        { "nan", "not finite" },
        { "type", "<f4" },
        { "order", "Unexpected entry" },
    };

    [Theory]
    [MemberData(nameof(Damages))]
    public void Shard_Damaged_EndsTheEpochWithItsFault(string damage, string because)
    {
        var path = Path.Combine(_folder, "damaged.tar");
        var features = Enumerable.Range(0, 20).Select(i => damage == "nan" && i == 13 ? float.NaN : i).ToArray();
        var x = damage switch
        {
            "shape" => NpyArray.Of<float>(features, 5, 4),
            "type" => NpyArray.Of<double>([.. features.Select(f => (double)f)], 10, 2),
            _ => NpyArray.Of<float>(features, 10, 2),
        };
        var rows = x.Shape[0];
        Write(path, x, [.. Enumerable.Range(0, rows).Select(i => damage == "class" && i == 4 ? 9L : 0L)]);
        if (damage == "cut")
        {
            File.WriteAllBytes(path, File.ReadAllBytes(path)[..700]);
        }
        if (damage == "text")
        {
            File.WriteAllText(path, new string('x', 2048));
        }
        if (damage == "order")
        {
            var bytes = File.ReadAllBytes(path);
            "000000.target.npy.."u8.CopyTo(bytes);
            FixChecksum(bytes);
            File.WriteAllBytes(path, bytes);
        }
        using var loader = new BatchLoader(new ShardSet([new ShardFile(path, damage == "rows" ? 9 : rows)], [2], 2), new BatchOptions { BatchSize = 4 });

        var fault = Assert.Throws<InvalidDataException>(() => Consume(loader, 10));

        Assert.Contains(because, fault.Message);
    }

    private ShardSet Shards(params int[] rows)
    {
        var next = 0;
        var files = rows.Select((count, s) =>
        {
            var path = Path.Combine(_folder, $"{s}.tar");
            var values = Enumerable.Range(next, count).SelectMany(i => new[] { i, -(float)i }).ToArray();
            Write(path, NpyArray.Of<float>(values, count, 2), [.. Enumerable.Range(next, count).Select(i => (long)i % 2)]);
            next += count;
            return new ShardFile(path, count);
        }).ToArray();
        return new ShardSet(files, [2], 2);
    }

    private static void Write(string path, NpyArray features, long[] target)
    {
        using var file = File.Create(path);
        using var writer = new ShardWriter(file);
        writer.Write(new ShardBlock(features, NpyArray.Of<long>(target, target.Length)));
    }

    private static void FixChecksum(byte[] tar)
    {
        // ustar: the header's bytes are summed with the checksum field itself as blanks.
        tar.AsSpan(148, 8).Fill((byte)' ');
        var sum = tar.Take(512).Sum(b => (int)b);
        System.Text.Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ", tar.AsSpan(148));
    }

    private static List<int> Rows(ShardSet shards, BatchOptions options)
    {
        var rows = new List<int>();
        using var loader = new BatchLoader(shards, options);
        while (true)
        {
            using var scope = TensorScope.Open();
            if (!loader.Next(out var batch))
            {
                return rows;
            }
            var features = batch.Features.ToArray<float>();
            var target = batch.Target.ToArray<long>();
            for (var i = 0; i < batch.Rows; i++)
            {
                var row = (int)features[2 * i];
                Assert.Equal(-row, features[2 * i + 1]);
                Assert.Equal(row % 2, target[i]);
                rows.Add(row);
            }
        }
    }

    private static void Consume(BatchLoader loader, int batches)
    {
        for (var i = 0; i < batches; i++)
        {
            using var scope = TensorScope.Open();
            if (!loader.Next(out _))
            {
                return;
            }
        }
    }
}
