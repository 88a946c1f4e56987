namespace DeepSeek.Preprocessing.Columns;

/// <summary>
/// Civil date parts of seconds since 1970 UTC, all in double: the very operations the exported graph performs. After
/// Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
/// </summary>
/// <param name="Year">Proleptic Gregorian.</param>
/// <param name="Month">1 to 12.</param>
/// <param name="DayOfWeek">0 = Monday to 6 = Sunday.</param>
/// <param name="Hour">0 to 23.</param>
internal readonly record struct DateParts(double Year, double Month, double DayOfWeek, double Hour)
{
    public const double SecondsPerDay = 86400;

    /// <summary>Days from 0000-03-01, where an era of 400 years begins, to 1970-01-01.</summary>
    public const double EpochOffset = 719468;
    public const double DaysPerEra = 146097;

    public static DateParts Of(double seconds)
    {
        var days = Math.Floor(seconds / SecondsPerDay);
        var hour = Math.Floor((seconds - (days * SecondsPerDay)) / 3600);
        var week = days + 3; // 1970-01-01 was a Thursday
        var dayOfWeek = week - (7 * Math.Floor(week / 7));
        var z = days + EpochOffset;
        var era = Math.Floor(z / DaysPerEra);
        var dayOfEra = z - (era * DaysPerEra);
        var yearOfEra = Math.Floor((dayOfEra - Math.Floor(dayOfEra / 1460) + Math.Floor(dayOfEra / 36524) - Math.Floor(dayOfEra / 146096)) / 365);
        var dayOfYear = dayOfEra - ((365 * yearOfEra) + Math.Floor(yearOfEra / 4) - Math.Floor(yearOfEra / 100));
        var shifted = Math.Floor(((5 * dayOfYear) + 2) / 153); // 0 = March
        // month = shifted + 3, less 12 and a year more from January on
        var wraps = shifted < 10 ? 0.0 : 1.0;
        var month = shifted + 3 - (12 * wraps);
        var year = yearOfEra + (era * 400) + wraps;
        return new DateParts(year, month, dayOfWeek, hour);
    }
}
