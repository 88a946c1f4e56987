namespace DeepSeek.Preprocessing.Sources;

/// <summary>The cell contents that mean "no value", in any case and with blanks around them.</summary>
internal static class MissingTokens
{
    public static readonly string[] All = ["", "NA", "N/A", "#N/A", "NaN", "null", "NULL", "None", "nil", "?"];

    private static readonly byte[][] Lower = [.. All.Select(t => System.Text.Encoding.ASCII.GetBytes(t.ToLowerInvariant())).DistinctBy(Convert.ToHexString)];
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
}
