using System.Numerics;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>
/// xoshiro256** seeded by SplitMix64 (Blackman and Vigna, 2018). Own code, because the sequence of System.Random is no
/// contract and splits must come out the same on every machine and version.
/// </summary>
internal sealed class SeededRandom
{
    private ulong _a, _b, _c, _d;

    /// <param name="seed">The dataset's seed.</param>
    /// <param name="stream">Keeps the uses of one seed apart.</param>
    public SeededRandom(ulong seed, string stream)
    {
        var state = Mix(seed, stream);
        _a = SplitMix(ref state);
        _b = SplitMix(ref state);
        _c = SplitMix(ref state);
        _d = SplitMix(ref state);
    }

    /// <summary>A well-mixed number for a seed and a label.</summary>
    public static ulong Mix(ulong seed, string label)
    {
        var state = seed;
        var mixed = SplitMix(ref state);
        foreach (var c in label)
        {
            state = mixed ^ c;
            mixed = SplitMix(ref state);
        }
        return mixed;
    }

    public static ulong Mix(ulong value)
    {
        return SplitMix(ref value);
    }

    public ulong NextUInt64()
    {
        var result = BitOperations.RotateLeft(_b * 5, 7) * 9;
        var t = _b << 17;
        _c ^= _a;
        _d ^= _b;
        _b ^= _c;
        _a ^= _d;
        _c ^= t;
        _d = BitOperations.RotateLeft(_d, 45);
        return result;
    }

    /// <summary>Uniform in [0, bound), without bias (Lemire, 2019).</summary>
    public long Next(long bound)
    {
        var range = (ulong)bound;
        var high = Math.BigMul(NextUInt64(), range, out var low);
        if (low < range)
        {
            var threshold = (0 - range) % range;
            while (low < threshold)
            {
                high = Math.BigMul(NextUInt64(), range, out low);
            }
        }
        return (long)high;
    }

    private static ulong SplitMix(ref ulong state)
    {
        state += 0x9E3779B97F4A7C15;
        var z = state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
