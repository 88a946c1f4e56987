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
    private const int Shortest = 8;
    private const int Longest = 35;

    /// <summary>The forms the cell fits; None when it is no date.</summary>
    public static DateForm Match(ReadOnlySpan<byte> cell)
    {
        // Most cells that are no dates are told by their beginning.
        if (cell.Length is < Shortest or > Longest || !IsDigit(cell[0]) || cell[..5].IndexOfAny("-./"u8) < 0)
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

    /// <summary>Seconds since 1970 UTC. Written by hand: on large tables DateTime.TryParseExact took longer than all the rest.</summary>
    public static bool TryParse(ReadOnlySpan<byte> cell, DateForm form, out double seconds)
    {
        seconds = double.NaN;
        if (cell.Length is < Shortest or > Longest)
        {
            return false;
        }
        int year, month, day;
        if (form == DateForm.Iso)
        {
            var separator = cell[4];
            if (separator is not ((byte)'-' or (byte)'/')
                || !Take(ref cell, 4, 4, out year) || !Skip(ref cell, separator) || !Take(ref cell, 2, 2, out month) || !Skip(ref cell, separator) || !Take(ref cell, 2, 2, out day))
            {
                return false;
            }
        }
        else
        {
            var separator = form == DateForm.DayDotMonth ? (byte)'.' : (byte)'/';
            if (!Take(ref cell, 1, 2, out var first) || !Skip(ref cell, separator) || !Take(ref cell, 1, 2, out var second) || !Skip(ref cell, separator) || !Take(ref cell, 4, 4, out year))
            {
                return false;
            }
            (day, month) = form == DateForm.MonthSlashDay ? (second, first) : (first, second);
        }
        if (year < 1 || month is < 1 or > 12 || day < 1 || day > DateTime.DaysInMonth(year, month))
        {
            return false;
        }
        long ticks = 0;
        if (!cell.IsEmpty && !TryTime(cell, form == DateForm.Iso, out ticks))
        {
            return false;
        }
        seconds = (new DateTime(year, month, day).Ticks - DateTime.UnixEpoch.Ticks + ticks) / (double)TimeSpan.TicksPerSecond;
        return true;
    }

    // " 14:05", " 14:05:09"; in ISO also T, fractions of a second, and Z or +02:00.
    private static bool TryTime(ReadOnlySpan<byte> cell, bool iso, out long ticks)
    {
        ticks = 0;
        if (!(Skip(ref cell, (byte)' ') || (iso && Skip(ref cell, (byte)'T')))
            || !Take(ref cell, 2, 2, out var hour) || !Skip(ref cell, (byte)':') || !Take(ref cell, 2, 2, out var minute) || hour > 23 || minute > 59)
        {
            return false;
        }
        var second = 0;
        if (Skip(ref cell, (byte)':') && (!Take(ref cell, 2, 2, out second) || second > 59))
        {
            return false;
        }
        ticks = (((hour * 60L) + minute) * 60 + second) * TimeSpan.TicksPerSecond;
        if (iso && Skip(ref cell, (byte)'.'))
        {
            var digits = cell.Length;
            if (!Take(ref cell, 1, 7, out var fraction))
            {
                return false;
            }
            for (digits -= cell.Length; digits < 7; digits++)
            {
                fraction *= 10;
            }
            ticks += fraction;
        }
        if (cell.IsEmpty || !iso)
        {
            return cell.IsEmpty;
        }
        if (Skip(ref cell, (byte)'Z'))
        {
            return cell.IsEmpty;
        }
        var sign = cell[0] switch { (byte)'+' => 1, (byte)'-' => -1, _ => 0 };
        cell = cell[1..];
        if (sign == 0 || !Take(ref cell, 2, 2, out var hours) || !Skip(ref cell, (byte)':') || !Take(ref cell, 2, 2, out var minutes) || hours > 14 || minutes > 59 || !cell.IsEmpty)
        {
            return false;
        }
        ticks -= sign * ((hours * 60L) + minutes) * TimeSpan.TicksPerMinute;
        return true;
    }

    private static bool IsDigit(byte b) => b is >= (byte)'0' and <= (byte)'9';

    private static bool Skip(ref ReadOnlySpan<byte> cell, byte expected)
    {
        if (cell.IsEmpty || cell[0] != expected)
        {
            return false;
        }
        cell = cell[1..];
        return true;
    }

    private static bool Take(ref ReadOnlySpan<byte> cell, int least, int most, out int number)
    {
        number = 0;
        var taken = 0;
        while (taken < most && taken < cell.Length && IsDigit(cell[taken]))
        {
            number = (number * 10) + cell[taken++] - '0';
        }
        cell = cell[taken..];
        return taken >= least;
    }

    /// <summary>The one form to read a column by, out of those that fit all its cells; ISO first, then the American order.</summary>
    public static DateForm Choose(DateForm fitting) =>
        fitting.HasFlag(DateForm.Iso) ? DateForm.Iso
        : fitting.HasFlag(DateForm.DayDotMonth) ? DateForm.DayDotMonth
        : fitting.HasFlag(DateForm.MonthSlashDay) ? DateForm.MonthSlashDay
        : fitting.HasFlag(DateForm.DaySlashMonth) ? DateForm.DaySlashMonth
        : DateForm.None;
}
