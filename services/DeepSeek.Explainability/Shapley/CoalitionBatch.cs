namespace DeepSeek.Explainability.Shapley;

/// <summary>A batch of coalitions over <paramref name="players"/> players, one bit each: the rows of a bit matrix [count, players].</summary>
public sealed class CoalitionBatch(int players, int capacity)
{
    private const int WordBits = 64;
    private readonly int _words = (players + WordBits - 1) / WordBits;
    private ulong[] _bits = new ulong[(players + WordBits - 1) / WordBits * capacity];

    /// <summary>Number of players in the game.</summary>
    public int Players => players;

    /// <summary>Number of coalitions in the batch.</summary>
    public int Count { get; private set; }

    /// <summary>True when <paramref name="player"/> belongs to coalition number <paramref name="coalition"/>.</summary>
    public bool Contains(int coalition, int player) =>
        (_bits[coalition * _words + player / WordBits] >> (player % WordBits) & 1) != 0;

    /// <summary>Empties the batch, keeping its memory.</summary>
    public void Clear() => Count = 0;

    /// <summary>Appends a coalition whose members are the set bits of <paramref name="members"/> (at most 64 players).</summary>
    public void Add(ulong members)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(players, WordBits);
        Next()[0] = members;
    }

    /// <summary>Appends the coalition of those players for whom <paramref name="members"/> holds true.</summary>
    public void Add(ReadOnlySpan<bool> members)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(members.Length, players);
        var row = Next();
        for (var player = 0; player < players; player++)
        {
            if (members[player])
            {
                row[player / WordBits] |= 1UL << (player % WordBits);
            }
        }
    }

    private Span<ulong> Next()
    {
        if ((Count + 1) * _words > _bits.Length)
        {
            Array.Resize(ref _bits, _bits.Length * 2);
        }

        var row = _bits.AsSpan(Count++ * _words, _words);
        row.Clear();
        return row;
    }
}
