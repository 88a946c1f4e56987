using System.Globalization;
using System.IO.Hashing;
using System.Text;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>What one pass over the raw cells of a column tells, whatever its type will be. Keeps no cell but the target's classes.</summary>
internal sealed class ColumnScan(TableColumn source)
{
    public const int MaxClasses = 1000;
    private const int MaxClassBytes = 1024;

    private readonly long[] _personal = new long[PersonalKinds.Count];
    private double _previous = double.NaN;
    private long _lengths;

    public TableColumn Source { get; } = source;
    public long Rows { get; private set; }
    public long Missing { get; private set; }
    public long Values => Rows - Missing;
    public long Numbers { get; private set; }
    public long Wholes { get; private set; }
    public long Booleans { get; private set; }
    public long Dates { get; private set; }

    /// <summary>Values with at least seven digits: as many as a phone or ID number has.</summary>
    public long LongNumbers { get; private set; }

    /// <summary>Cells that hold personal data beside other text.</summary>
    public long Embedded { get; private set; }
    public DateForm DateForms { get; private set; } = DateForm.All;
    public double Min { get; private set; } = double.PositiveInfinity;
    public double Max { get; private set; } = double.NegativeInfinity;
    public long FirstNonNumber { get; private set; }
    public long FirstInfinite { get; private set; }

    /// <summary>0, 1, 2, … or 1, 2, 3, … down the rows.</summary>
    public bool Counts { get; private set; } = true;
    public DistinctCounter Distinct { get; } = new();
    public double MeanLength => Values == 0 ? 0 : (double)_lengths / Values;

    public long Personal(PersonalKind kind) => _personal[(int)kind];

    /// <summary>Distinct texts and their counts while there are at most <see cref="MaxClasses"/>; kept where asked for.</summary>
    public Dictionary<string, long>? Classes { get; private set; }

    public void KeepClasses() => Classes = new(StringComparer.Ordinal);

    public void Text(ReadOnlySpan<byte> cell, bool detect)
    {
        Rows++;
        cell = Cells.Trim(cell);
        if (MissingTokens.Contains(cell))
        {
            Missing++;
            return;
        }
        _lengths += cell.Length;
        Distinct.Add(XxHash3.HashToUInt64(cell));
        Class(cell);
        if (Cells.TryNumber(cell, out var number))
        {
            Number(number);
            LongNumbers += LongEnough(cell) ? 1 : 0;
            // Numbers that may be personal: +4930901820, and digits as many as a card has.
            if (detect && (cell[0] == '+' || (cell.Length >= 13 && cell.IndexOfAny(".eE"u8) < 0)) && PersonalData.OfValue(cell) is { } digits)
            {
                _personal[(int)digits]++;
            }
            return;
        }
        FirstNonNumber = FirstNonNumber == 0 ? Rows : FirstNonNumber;
        Counts = false;
        if (Cells.TryBoolean(cell, out _))
        {
            Booleans++;
            return;
        }
        var forms = Columns.DateForms.Match(cell);
        if (forms != DateForm.None)
        {
            Dates++;
            DateForms &= forms;
            return;
        }
        LongNumbers += LongEnough(cell) ? 1 : 0;
        if (!detect)
        {
            return;
        }
        if (PersonalData.OfValue(cell) is { } kind)
        {
            _personal[(int)kind]++;
        }
        else if (PersonalData.IsInside(cell))
        {
            Embedded++;
        }
    }

    /// <summary>A cell of a source that knows its types.</summary>
    public void Typed(double value, bool detect)
    {
        Rows++;
        if (double.IsNaN(value))
        {
            Missing++;
            return;
        }
        Distinct.Add(SeededRandom.Mix(BitConverter.DoubleToUInt64Bits(value)));
        if (Source.Kind == CellKind.Boolean)
        {
            Booleans++;
            Class(value != 0 ? "true"u8 : "false"u8);
            return;
        }
        if (Source.Kind == CellKind.Instant)
        {
            Dates++;
            return;
        }
        Span<byte> text = stackalloc byte[32];
        value.TryFormat(text, out var length, "R", CultureInfo.InvariantCulture);
        Class(text[..length]);
        Number(value);
        if (Cells.IsWhole(value) && Math.Abs(value) is >= 1e6 and < 1e16)
        {
            ((long)value).TryFormat(text, out length, default, CultureInfo.InvariantCulture);
            LongNumbers++;
            if (detect && PersonalData.OfValue(text[..length]) is { } kind)
            {
                _personal[(int)kind]++;
            }
        }
    }

    private void Number(double number)
    {
        Numbers++;
        if (double.IsInfinity(number))
        {
            FirstInfinite = FirstInfinite == 0 ? Rows : FirstInfinite;
            return;
        }
        Wholes += Cells.IsWhole(number) ? 1 : 0;
        Counts &= double.IsNaN(_previous) ? number is 0 or 1 : number == _previous + 1;
        _previous = number;
        Min = Math.Min(Min, number);
        Max = Math.Max(Max, number);
    }

    private void Class(ReadOnlySpan<byte> cell)
    {
        if (Classes is null || Classes.Count > MaxClasses)
        {
            return;
        }
        if (cell.Length > MaxClassBytes)
        {
            throw DataFault.At(Rows, Source.Name, $"a target value longer than {MaxClassBytes:N0} bytes is no class name.");
        }
        Span<char> characters = stackalloc char[MaxClassBytes];
        var text = characters[..Encoding.UTF8.GetChars(cell, characters)];
        var lookup = Classes.GetAlternateLookup<ReadOnlySpan<char>>();
        lookup[text] = lookup.TryGetValue(text, out var count) ? count + 1 : 1;
    }

    private static bool LongEnough(ReadOnlySpan<byte> cell)
    {
        if (cell.Length < 7)
        {
            return false;
        }
        var digits = 0;
        foreach (var b in cell)
        {
            digits += b is >= (byte)'0' and <= (byte)'9' ? 1 : b == '.' ? -100 : 0;
        }
        return digits >= 7;
    }
}
