using System.Globalization;

namespace DeepSeek.Preprocessing.Features;

/// <summary>
/// The fitted way from raw values to features: all it needs to be applied here and to be written as an ONNX graph. Features stand
/// in the order numbers (booleans among them), date parts, categories. Arithmetic is in double and ends in float.
/// </summary>
internal sealed record FeaturePipeline
{
    public IReadOnlyList<NumberFeature> Numbers { get; init; } = [];
    public IReadOnlyList<DateFeature> Dates { get; init; } = [];
    public IReadOnlyList<CategoryFeature> Categories { get; init; } = [];

    public int Count => Numbers.Count + (Dates.Count * DateFeature.Parts.Length) + Categories.Sum(c => c.Width);

    public IReadOnlyList<string> Names =>
    [
        .. Numbers.Select(n => n.Column),
        .. DateFeature.Parts.SelectMany(part => Dates.Select(d => $"{d.Column}.{part}")),
        .. Categories.SelectMany(c => c.Names),
    ];

    public static string Format(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}

/// <summary>(value, or <paramref name="Fill"/> when missing, - <paramref name="Center"/>) / <paramref name="Scale"/>.</summary>
internal sealed record NumberFeature(int Index, string Column, bool Boolean, double Fill, double Center, double Scale);

/// <summary>Year, month, day of week, hour and days since <paramref name="Origin"/>, each centred and scaled.</summary>
/// <param name="Index">Column in the table.</param>
/// <param name="Column">Its name.</param>
/// <param name="Fill">Seconds since 1970 taken for a missing date.</param>
/// <param name="Origin">The earliest date in the train part, in seconds since 1970.</param>
/// <param name="Center">By part.</param>
/// <param name="Scale">By part.</param>
internal sealed record DateFeature(int Index, string Column, double Fill, double Origin, IReadOnlyList<double> Center, IReadOnlyList<double> Scale)
{
    public static readonly string[] Parts = ["year", "month", "dayOfWeek", "hour", "elapsedDays"];
}

/// <summary>One feature per category and one for all others, which is 1 for a value not seen in the train part.</summary>
/// <param name="Index">Column in the table.</param>
/// <param name="Column">Its name.</param>
/// <param name="Values">The categories, most frequent first.</param>
/// <param name="Fill">Place in <paramref name="Values"/> of what stands for a missing value; their number for "other".</param>
internal sealed record CategoryFeature(int Index, string Column, IReadOnlyList<string> Values, int Fill)
{
    public const string Other = "(other)";

    public int Width => Values.Count + 1;

    public IEnumerable<string> Names => [.. Values.Select(v => $"{Column}={v}"), $"{Column}={Other}"];
}
