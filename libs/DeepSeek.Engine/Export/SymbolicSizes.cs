namespace DeepSeek.Engine.Export;

/// <summary>
/// A number of a trace that may follow the sizes of the inputs: its value in the first trace and in one trace for each symbol, in which
/// only that symbol's size is another.
/// </summary>
internal sealed class SymbolicSize(IReadOnlyList<ExportSymbol> symbols, long[] values)
{
    /// <summary>In the first trace.</summary>
    internal long First => values[0];

    /// <summary>Whether no symbol changes it.</summary>
    internal bool Fixed => values.All(v => v == values[0]);

    internal bool SameAs(SymbolicSize other) => values.SequenceEqual(other.Values);

    private long[] Values => values;

    internal SymbolicSize Plus(SymbolicSize other) => new(symbols, [.. values.Zip(other.Values, (a, b) => a + b)]);

    /// <summary>As factor · Π of the symbols it grows with.</summary>
    /// <exception cref="NotSupportedException">It depends on a symbol in another way.</exception>
    internal (long Factor, IReadOnlyList<ExportSymbol> Symbols) Product()
    {
        var found = new List<ExportSymbol>();
        var factor = First;
        for (var s = 0; s < symbols.Count; s++)
        {
            var value = values[s + 1];
            if (value == First)
            {
                continue;
            }
            if (First == 0 || value * symbols[s].First != First * symbols[s].Second)
            {
                throw new NotSupportedException($"A size that is {First} and {value} where {symbols[s].Name} is {symbols[s].First} and {symbols[s].Second} is no multiple of it; give that dimension a fixed size.");
            }
            found.Add(symbols[s]);
            factor /= symbols[s].First;
        }
        return (factor, found);
    }
}

/// <summary>A dimension that stays open in the exported graph, and the two sizes it has while tracing.</summary>
/// <param name="Name">Its name, such as N.</param>
/// <param name="First">Size in the first trace.</param>
/// <param name="Second">Size in this symbol's own trace.</param>
public sealed record ExportSymbol(string Name, long First, long Second);
