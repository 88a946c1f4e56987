using System.Globalization;
using System.Text;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>What the bytes of one cell mean.</summary>
internal static class Cells
{
    private static readonly byte[][] True = [.. new[] { "true", "yes", "t", "y" }.Select(Encoding.ASCII.GetBytes)];
    private static readonly byte[][] False = [.. new[] { "false", "no", "f", "n" }.Select(Encoding.ASCII.GetBytes)];

    public static ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> cell) => cell.Trim(" \t"u8);

    /// <summary>A number in the invariant form, infinities and overflow included: the caller must refuse those.</summary>
    public static bool TryNumber(ReadOnlySpan<byte> cell, out double number)
    {
        if (cell.IsEmpty || cell.Length > 64)
        {
            number = double.NaN;
            return false;
        }
        var unsigned = cell[0] is (byte)'+' or (byte)'-' ? cell[1..] : cell;
        if (Ascii.EqualsIgnoreCase(unsigned, "inf"u8))
        {
            number = double.PositiveInfinity;
            return true;
        }
        // "NaN" is a missing token and never gets here as a number; "∞" and the like are left to be text.
        return double.TryParse(cell, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && !double.IsNaN(number);
    }

    /// <summary>true/false, yes/no, t/f, y/n in any case.</summary>
    public static bool TryBoolean(ReadOnlySpan<byte> cell, out bool value)
    {
        value = Is(cell, True);
        return value || Is(cell, False);
    }

    public static bool IsWhole(double number) => Math.Floor(number) == number;

    private static bool Is(ReadOnlySpan<byte> cell, byte[][] words)
    {
        if (cell.Length > 5)
        {
            return false;
        }
        foreach (var word in words)
        {
            if (Ascii.EqualsIgnoreCase(cell, word))
            {
                return true;
            }
        }
        return false;
    }
}
