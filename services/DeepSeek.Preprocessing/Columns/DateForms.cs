using System.Globalization;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>How a column writes its dates. A column has one form; cells of another are no dates in it.</summary>
[Flags]
internal enum DateForm
{
    None = 0,

    /// <summary>2024-05-31, optionally T or blank, 14:05[:09[.123]], and Z or +02:00. Without an offset: UTC.</summary>
    Iso = 1,

    /// <summary>31.05.2024 [14:05[:09]].</summary>
    DayDotMonth = 2,

    /// <summary>05/31/2024 [14:05[:09]].</summary>
    MonthSlashDay = 4,

    /// <summary>31/05/2024 [14:05[:09]].</summary>
    DaySlashMonth = 8,
    All = Iso | DayDotMonth | MonthSlashDay | DaySlashMonth,
}

internal static class DateForms
{
    private const DateTimeStyles Utc = DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal;

    private static readonly string[] IsoFormats =
    [
        "yyyy-MM-dd", "yyyy/MM/dd", "yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mm:ss.FFFFFFF", "yyyy-MM-dd HH:mm:ssK", "yyyy-MM-dd HH:mm:ss.FFFFFFFK",
        "yyyy-MM-ddTHH:mm", "yyyy-MM-ddTHH:mmK", "yyyy-MM-ddTHH:mm:ss", "yyyy-MM-ddTHH:mm:ssK", "yyyy-MM-ddTHH:mm:ss.FFFFFFF", "yyyy-MM-ddTHH:mm:ss.FFFFFFFK",
    ];

    private static readonly string[] DotFormats = ["d.M.yyyy", "d.M.yyyy HH:mm", "d.M.yyyy HH:mm:ss"];
    private static readonly string[] MonthFormats = ["M/d/yyyy", "M/d/yyyy HH:mm", "M/d/yyyy HH:mm:ss"];
    private static readonly string[] DayFormats = ["d/M/yyyy", "d/M/yyyy HH:mm", "d/M/yyyy HH:mm:ss"];

    /// <summary>The forms the cell fits; None when it is no date.</summary>
    public static DateForm Match(ReadOnlySpan<byte> cell)
    {
        // The shortest date has 8 characters and all begin and have a digit in place 0; this spares most cells the parsing.
        if (cell.Length is < 8 or > 35 || !char.IsAsciiDigit((char)cell[0]) || cell[..5].IndexOfAny("-./"u8) < 0)
        {
            return DateForm.None;
        }
        var forms = DateForm.None;
        foreach (var form in (ReadOnlySpan<DateForm>)[DateForm.Iso, DateForm.DayDotMonth, DateForm.MonthSlashDay, DateForm.DaySlashMonth])
        {
            forms |= TryParse(cell, form, out _) ? form : DateForm.None;
        }
        return forms;
    }

    /// <summary>Seconds since 1970 UTC.</summary>
    public static bool TryParse(ReadOnlySpan<byte> cell, DateForm form, out double seconds)
    {
        seconds = double.NaN;
        if (cell.Length is < 8 or > 35)
        {
            return false;
        }
        Span<char> text = stackalloc char[cell.Length];
        for (var i = 0; i < cell.Length; i++)
        {
            text[i] = (char)cell[i];
        }
        var formats = form switch
        {
            DateForm.Iso => IsoFormats,
            DateForm.DayDotMonth => DotFormats,
            DateForm.MonthSlashDay => MonthFormats,
            DateForm.DaySlashMonth => DayFormats,
            _ => [],
        };
        if (!DateTime.TryParseExact(text, formats, CultureInfo.InvariantCulture, Utc, out var time))
        {
            return false;
        }
        seconds = (time - DateTime.UnixEpoch).Ticks / (double)TimeSpan.TicksPerSecond;
        return true;
    }

    /// <summary>The one form to read a column by, out of those that fit all its cells; ISO first, then the American order.</summary>
    public static DateForm Choose(DateForm fitting) =>
        fitting.HasFlag(DateForm.Iso) ? DateForm.Iso
        : fitting.HasFlag(DateForm.DayDotMonth) ? DateForm.DayDotMonth
        : fitting.HasFlag(DateForm.MonthSlashDay) ? DateForm.MonthSlashDay
        : fitting.HasFlag(DateForm.DaySlashMonth) ? DateForm.DaySlashMonth
        : DateForm.None;
}
