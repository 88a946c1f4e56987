using System.Text.Json;
using System.Text.RegularExpressions;

namespace DeepSeek.Data;

/// <summary>
/// How a column was masked before anything of it was stored. A value that comes later, as in a row to explain, is masked by it before
/// it is stored, too.
/// </summary>
/// <param name="Method"><c>hash</c>, <c>redact</c> or <c>generalise</c>.</param>
/// <param name="BandWidth">Width of the bands of a generalised number; null for other columns.</param>
public sealed partial record ColumnMask(string Method, double? BandWidth = null)
{
    /// <summary>Stands for a text that is not in a masked form: to a model it is a category that training never saw, as the text itself is.</summary>
    public const string Hidden = "(masked)";

    /// <summary>Masked columns by name, from a manifest's schema.</summary>
    public static IReadOnlyDictionary<string, ColumnMask> Of(DatasetManifest dataset) =>
        dataset.Schema is { ValueKind: JsonValueKind.Array } schema
            ? schema.EnumerateArray().Where(column => column.TryGetProperty("masked", out _)).ToDictionary(
                column => column.GetProperty("name").GetString()!,
                column => new ColumnMask(
                    column.GetProperty("masked").GetString()!,
                    column.TryGetProperty("bandWidth", out var width) ? width.GetDouble() : null))
            : new Dictionary<string, ColumnMask>();

    /// <summary>The middle of the value's band; NaN (missing) stays.</summary>
    public static double Band(double value, double width) => (Math.Floor(value / width) * width) + (width / 2);

    /// <summary>The first of January of the year, both in seconds since 1970 UTC; the year 1 for what no calendar holds. NaN (missing) stays.</summary>
    public static double Year(double seconds)
    {
        const double earliest = -62135596800, latest = 253402300799;
        var year = seconds is >= earliest and <= latest ? DateTime.UnixEpoch.AddSeconds(seconds).Year : 1;
        return double.IsNaN(seconds) ? seconds : (new DateTime(year, 1, 1, 0, 0, 0, DateTimeKind.Utc) - DateTime.UnixEpoch).TotalSeconds;
    }

    /// <summary>
    /// The form of a raw value that may be stored. Numbers and times move to their band, as they did in the training data; a text that is
    /// not a masked one already becomes <see cref="Hidden"/>. Null stays.
    /// </summary>
    /// <exception cref="FormatException">The value is not of the column's type.</exception>
    /// <exception cref="InvalidDataException">The dataset does not tell the bands.</exception>
    public JsonElement Apply(DatasetInput input, JsonElement value)
    {
        if (value.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined)
        {
            return value;
        }

        if (input.Datatype == "BYTES")
        {
            var text = SampleRows.ToText(value);
            return text.Length == 0 || IsMasked(text) ? value : JsonSerializer.SerializeToElement(Hidden);
        }

        var number = SampleRows.ToNumber(value, input.Type);
        return JsonSerializer.SerializeToElement(input.Type == "dateTime" ? Year(number) : Band(number, BandWidth
            ?? throw new InvalidDataException($"The dataset does not tell the bands of its masked column '{input.Name}'. Prepare it again.")));
    }

    private bool IsMasked(string text) => Method == "hash" ? Hash().IsMatch(text) : Generalised().IsMatch(text);

    [GeneratedRegex("^h_[0-9a-f]{24}$")]
    private static partial Regex Hash();

    /// <summary>A mail's domain, a placeholder, or the first characters of an account, card, phone or postal code, or of an address of a network.</summary>
    [GeneratedRegex(@"^(\*@[^@\s]+|\[[a-z-]+\]|[A-Z]{2}\*|\d\*|\+\d\d\*|\d{1,3}\.\d{1,3}\.\*|\w{2,3}\*)$", RegexOptions.CultureInvariant)]
    private static partial Regex Generalised();
}
