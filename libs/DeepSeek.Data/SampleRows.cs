using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DeepSeek.Data;

/// <summary>One raw row of a split's sample: the inputs by column name, and the target (class name or number).</summary>
public sealed record SampleRow([property: JsonRequired] IReadOnlyDictionary<string, JsonElement> Inputs, JsonElement Target);

/// <summary>Reads a split's sample (gzip JSON Lines), and raw values in JSON as model inputs.</summary>
public static class SampleRows
{
    /// <summary>The rows, in file order.</summary>
    /// <exception cref="InvalidDataException">A line is damaged: the message names it.</exception>
    public static IEnumerable<SampleRow> Read(Stream gzip)
    {
        using var lines = new StreamReader(new GZipStream(gzip, CompressionMode.Decompress, leaveOpen: true));
        for (var number = 1; lines.ReadLine() is { } line; number++)
        {
            SampleRow? row;
            try
            {
                row = JsonSerializer.Deserialize<SampleRow>(line, JsonSerializerOptions.Web);
            }
            catch (JsonException fault)
            {
                throw new InvalidDataException($"Line {number} of the sample is damaged: {fault.Message}", fault);
            }

            yield return row ?? throw new InvalidDataException($"Line {number} of the sample is empty.");
        }
    }

    /// <summary>A value as the number its column's tensor takes: numbers, booleans as 0 and 1, date-times as seconds since 1970 UTC, null as NaN.</summary>
    /// <exception cref="FormatException">The value is of another kind; the message says what is wanted.</exception>
    public static double ToNumber(JsonElement value, string type) => (value.ValueKind, type) switch
    {
        (JsonValueKind.Null or JsonValueKind.Undefined, _) => double.NaN,
        (JsonValueKind.Number, _) when value.TryGetDouble(out var number) && double.IsFinite(number) => number,
        (JsonValueKind.True, "boolean") => 1,
        (JsonValueKind.False, "boolean") => 0,
        (JsonValueKind.String, "dateTime") when DateTimeOffset.TryParse(value.GetString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) =>
            (time - DateTimeOffset.UnixEpoch).TotalSeconds,
        _ => throw new FormatException($"{Shown(value)} is not a {type switch { "boolean" => "boolean (true, false or null)", "dateTime" => "date-time (ISO 8601 text, seconds since 1970, or null)", _ => "finite number or null" }}."),
    };

    /// <summary>
    /// A value as the text its column's tensor takes: text without blanks and tabs around it, as cells are prepared; numbers and booleans as written;
    /// null as "".
    /// </summary>
    /// <exception cref="FormatException">The value is an object or a list.</exception>
    public static string ToText(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.Undefined => "",
        JsonValueKind.String => value.GetString()!.Trim(' ', '\t'),
        JsonValueKind.Number => value.GetRawText(),
        JsonValueKind.True => "true",
        JsonValueKind.False => "false",
        _ => throw new FormatException($"{Shown(value)} is not a category (text, number or null)."),
    };

    private static string Shown(JsonElement value)
    {
        var text = value.GetRawText();
        return text.Length <= 40 ? text : text[..40] + "…";
    }
}
