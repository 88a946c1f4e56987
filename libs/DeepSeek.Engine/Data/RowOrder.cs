using System.Collections.Immutable;

namespace DeepSeek.Engine.Data;

/// <summary>Shards that are in memory together.</summary>
internal sealed record Window(ImmutableArray<int> Shards, int Rows);

/// <summary>
/// The order of rows in each epoch: shards are shuffled and gathered into windows of bounded size, rows are shuffled within a
/// window. It depends on the seed and the epoch alone, so any position can be taken up again without reading what came before.
/// </summary>
internal sealed class RowOrder(ShardSet shards, long? seed, long windowBytes)
{
    /// <summary>The windows of an epoch in order.</summary>
    internal List<Window> Windows(int epoch)
    {
        var order = Enumerable.Range(0, shards.Shards.Count).ToArray();
        var whole = shards.Rows * (shards.RowBytes + shards.TargetBytes) <= windowBytes;
        if (seed is { } value && !whole)
        {
            // With everything in one window the order of shards does not matter and keeping it saves reading them again.
            new SeededRandom(value, epoch).Shuffle<int>(order);
        }
        var windows = new List<Window>();
        var members = ImmutableArray.CreateBuilder<int>();
        var rows = 0L;
        foreach (var shard in order)
        {
            var more = shards.Shards[shard].Rows;
            if (members.Count > 0 && (rows + more) * (shards.RowBytes + shards.TargetBytes) > windowBytes)
            {
                windows.Add(new Window(members.ToImmutable(), checked((int)rows)));
                members.Clear();
                rows = 0;
            }
            members.Add(shard);
            rows += more;
        }
        if (members.Count > 0)
        {
            windows.Add(new Window(members.ToImmutable(), checked((int)rows)));
        }
        return windows;
    }

    /// <summary>The order of a window's rows.</summary>
    internal void Permute(int epoch, int window, Span<int> rows)
    {
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i] = i;
        }
        if (seed is { } value)
        {
            new SeededRandom(value, epoch, window, 1).Shuffle(rows);
        }
    }
}
