namespace DeepSeek.Preprocessing.Splitting;

/// <summary>
/// Counts rows that occur again, and those whose copies lie in another part. When there are too many rows to remember, it goes on
/// with those whose hash ends in one more zero bit: copies share their hash, so the sample keeps them together and scales up.
/// </summary>
internal sealed class DuplicateFinder
{
    /// <summary>About 30 MB.</summary>
    private const int Capacity = 1 << 20;

    private Dictionary<ulong, byte> _parts = [];
    private int _level;
    private long _duplicates;
    private long _crossing;

    /// <summary>False when the counts are estimates.</summary>
    public bool Exact => _level == 0;

    /// <summary>Rows that equal an earlier one.</summary>
    public long Duplicates => _duplicates << _level;

    /// <summary>Rows that equal one of another part.</summary>
    public long Crossing => _crossing << _level;

    public void Add(ulong hash, SplitPart part)
    {
        if ((hash & ((1UL << _level) - 1)) != 0)
        {
            return;
        }
        var bit = (byte)(1 << (int)part);
        if (_parts.TryGetValue(hash, out var seen))
        {
            _duplicates++;
            _crossing += (seen & ~bit) != 0 ? 1 : 0;
            _parts[hash] = (byte)(seen | bit);
            return;
        }
        if (_parts.Count == Capacity)
        {
            _level++;
            _parts = _parts.Where(p => (p.Key & ((1UL << _level) - 1)) == 0).ToDictionary();
            _duplicates /= 2;
            _crossing /= 2;
            Add(hash, part);
            return;
        }
        _parts.Add(hash, bit);
    }
}
