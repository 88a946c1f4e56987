namespace DeepSeek.Engine.Data;

/// <summary>SplitMix64 (Steele et al., OOPSLA 2014): the same numbers from the same seed on every machine and .NET version.</summary>
public struct SeededRandom
{
    private ulong _state;

    /// <summary>Mixes the seed with whatever tells this use from others, such as epoch and window.</summary>
    public SeededRandom(long seed, params ReadOnlySpan<long> streams)
    {
        _state = unchecked((ulong)seed);
        foreach (var stream in streams)
        {
            _state = Next() ^ unchecked((ulong)stream);
        }
    }

    /// <summary>64 random bits.</summary>
    public ulong Next()
    {
        unchecked
        {
            var z = _state += 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }

    /// <summary>A number from 0 to below <paramref name="bound"/>, all alike (Lemire, arXiv 1805.10941).</summary>
    public int Below(int bound)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bound);
        var threshold = unchecked(0 - (ulong)bound) % (ulong)bound;
        while (true)
        {
            var product = (UInt128)Next() * (ulong)bound;
            if ((ulong)product >= threshold)
            {
                return (int)(product >> 64);
            }
        }
    }

    /// <summary>Puts the entries into random order (Fisher and Yates).</summary>
    public void Shuffle<T>(Span<T> entries)
    {
        for (var i = entries.Length - 1; i > 0; i--)
        {
            var j = Below(i + 1);
            (entries[i], entries[j]) = (entries[j], entries[i]);
        }
    }
}
