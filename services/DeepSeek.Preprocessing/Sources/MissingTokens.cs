namespace DeepSeek.Preprocessing.Sources;

/// <summary>The cell contents that mean "no value", in any case and with blanks around them.</summary>
internal static class MissingTokens
{
    public static readonly string[] All = ["", "NA", "N/A", "#N/A", "NaN", "null", "NULL", "None", "nil", "?"];

    private static readonly byte[][] Lower = [.. All.Select(t => System.Text.Encoding.ASCII.GetBytes(t.ToLowerInvariant())).DistinctBy(Convert.ToHexString)];
    /// <summary>Each of them in every case it may have, for readers that compare letter by letter.</summary>
    public static IReadOnlyList<string> Spellings { get; } =
        [.. All.Select(t => t.ToLowerInvariant()).Distinct().SelectMany(Cases).Order(StringComparer.Ordinal)];

    private static readonly int Longest = Lower.Max(t => t.Length);

    public static bool Contains(ReadOnlySpan<byte> cell)
    {
        cell = cell.Trim(" \t"u8);
        if (cell.Length > Longest)
        {
            return false;
        }
        foreach (var token in Lower)
        {
            if (System.Text.Ascii.EqualsIgnoreCase(cell, token))
            {
                return true;
            }
        }
        return false;
    }

    private static IEnumerable<string> Cases(string token)
    {
        IEnumerable<string> begun = [""];
        foreach (var letter in token)
        {
            char[] cases = char.IsAsciiLetterLower(letter) ? [letter, char.ToUpperInvariant(letter)] : [letter];
            begun = begun.SelectMany(start => cases.Select(next => start + next)).ToList();
        }
        return begun;
    }
}
