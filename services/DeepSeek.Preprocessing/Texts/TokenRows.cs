using DeepSeek.Data;
using DeepSeek.Preprocessing.Shards;

namespace DeepSeek.Preprocessing.Texts;

/// <summary>
/// Packs the documents of one part into rows: the tokens of all of them, one after the other with separators around, are cut into rows
/// of equal length, each with the token behind it as its target. So every token but the first is predicted once; what fills no row at
/// the end is left over.
/// </summary>
internal sealed class TokenRows(RowStore store, int context)
{
    private readonly short[] _row = new short[context + 1];
    private int _filled;

    /// <summary>Texts so far.</summary>
    public long Documents { get; private set; }

    /// <summary>Tokens so far, separators included.</summary>
    public long Tokens { get; private set; }

    /// <summary>Tokens that no row predicts or holds.</summary>
    public long LeftOver => Math.Max(0, _filled - 1);

    /// <summary>How often each token came.</summary>
    public long[] Counts { get; } = new long[ByteTokens.Vocabulary];

    public void Add(ReadOnlySpan<byte> document)
    {
        Documents++;
        Add(ByteTokens.Separator);
        foreach (var value in document)
        {
            Add(value);
        }
    }

    /// <summary>Ends the last document.</summary>
    public void Complete()
    {
        if (Documents > 0)
        {
            Add(ByteTokens.Separator);
        }
    }

    private void Add(int token)
    {
        Tokens++;
        Counts[token]++;
        _row[_filled++] = (short)token;
        if (_filled > context)
        {
            _row.AsSpan(0, context).CopyTo(store.Tokens);
            store.Add((long)_row[context]);
            _row[0] = _row[context];
            _filled = 1;
        }
    }
}
