using DeepSeek.Preprocessing.Columns;

namespace DeepSeek.Preprocessing.Splitting;

/// <summary>
/// Keeps all rows of a group in one part. Groups are taken in an order drawn from the seed and each goes to the part that lacks
/// most of its share; with more groups than fit in memory, each goes by its hash alone, which evens out over so many.
/// </summary>
internal sealed class GroupedSplitter : ISplitter
{
    /// <summary>About 100 MB of counts.</summary>
    public const int MaxCountedGroups = 2_000_000;

    private readonly Dictionary<ulong, SplitPart>? _parts;
    private readonly SplitShares _shares;
    private readonly ulong _seed;

    /// <param name="groupRows">Rows per group hash; null when there are more than <see cref="MaxCountedGroups"/>.</param>
    /// <param name="shares">Of the rows.</param>
    /// <param name="seed">The dataset's.</param>
    public GroupedSplitter(IReadOnlyDictionary<ulong, long>? groupRows, SplitShares shares, ulong seed)
    {
        (_shares, _seed) = (shares, SeededRandom.Mix(seed, "groups"));
        if (groupRows is null)
        {
            return;
        }
        var parts = shares.Validation > 0 ? (shares.Test > 0 ? 3 : 2) : shares.Test > 0 ? 2 : 1;
        if (groupRows.Count < parts)
        {
            throw new DataFault("split.column", $"has {groupRows.Count} groups, fewer than the {parts} parts of the split.");
        }
        double total = groupRows.Values.Sum();
        double[] wanted = [shares.Train * total, shares.Validation * total, shares.Test * total];
        _parts = new Dictionary<ulong, SplitPart>(groupRows.Count);
        foreach (var (group, rows) in groupRows.OrderBy(g => SeededRandom.Mix(g.Key ^ _seed)).ThenBy(g => g.Key))
        {
            var part = Neediest(wanted, shares);
            _parts[group] = part;
            wanted[(int)part] -= rows;
        }
    }

    public SplitPart Next(SplitKey row)
    {
        if (_parts is not null)
        {
            return _parts[row.Group];
        }
        var uniform = (SeededRandom.Mix(row.Group ^ _seed) >> 11) * (1.0 / (1UL << 53));
        return uniform < _shares.Train ? SplitPart.Train : uniform < _shares.Train + _shares.Validation ? SplitPart.Validation : SplitPart.Test;
    }

    // The part with the largest unfilled fraction of its share, so that small parts get their first group early.
    private static SplitPart Neediest(double[] wanted, SplitShares shares)
    {
        double[] share = [shares.Train, shares.Validation, shares.Test];
        var best = 0;
        var most = double.NegativeInfinity;
        for (var part = 0; part < 3; part++)
        {
            if (share[part] > 0 && wanted[part] / share[part] > most)
            {
                (best, most) = (part, wanted[part] / share[part]);
            }
        }
        return (SplitPart)best;
    }
}
