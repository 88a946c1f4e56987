using System.Text;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Privacy;

/// <summary>What is done to one column before anything of it is stored, and why.</summary>
/// <param name="Method">Hash, redact or generalise.</param>
/// <param name="Kind">What was found; null when the user asked and nothing was.</param>
/// <param name="Why">In words, without values.</param>
/// <param name="BandWidth">Width of the bands of a generalised number.</param>
internal sealed record Mask(MaskMethod Method, PersonalKind? Kind, string Why, double BandWidth = 10)
{
    /// <summary>The masked form of a text cell.</summary>
    public string Apply(string value, MaskingKey key) => Method switch
    {
        MaskMethod.Hash => key.Hash(Encoding.UTF8.GetBytes(value.Trim())),
        MaskMethod.Generalise => Generalised(value.Trim()),
        _ => (Kind ?? PersonalKind.Address).Placeholder(),
    };

    /// <summary>Numbers move to the middle of their band, so a model can be asked with exact ones: 37 becomes 35 in bands of 10.</summary>
    public double Number(double value) => ColumnMask.Band(value, BandWidth);

    /// <summary>Dates move to the first of January of their year.</summary>
    public static double Instant(double seconds) => ColumnMask.Year(seconds);

    /// <summary>10 for ages, else the 1, 2 or 5 times a power of ten that makes about ten bands.</summary>
    public static double WidthFor(double min, double max)
    {
        if (min >= 0 && max <= 130)
        {
            return 10;
        }
        var raw = Math.Max((max - min) / 10, double.Epsilon);
        var power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        return (raw / power) switch { < 1.5 => power, < 3.5 => 2 * power, < 7.5 => 5 * power, _ => 10 * power };
    }

    private string Generalised(string value)
    {
        switch (Kind ?? PersonalData.OfValue(value.AsSpan()))
        {
            case PersonalKind.Email when value.LastIndexOf('@') is var at and > 0:
                return "*" + value[at..];
            case PersonalKind.Iban when value.Length > 2:
                return value[..2].ToUpperInvariant() + "*";
            case PersonalKind.Card when value.Length > 1:
                return value[..1] + "*";
            case PersonalKind.Phone when value.StartsWith('+') && value.Length > 3:
                return value[..3] + "*";
            case PersonalKind.IpAddress when value.Split('.') is { Length: 4 } parts:
                return $"{parts[0]}.{parts[1]}.*";
            case null when value.Length is >= 4 and <= 10 && value.Any(char.IsAsciiDigit):
                // Postal codes and the like: the leading part names the region.
                return value[..Math.Min(3, value.Length / 2)] + "*";
            case var kind:
                return (kind ?? PersonalKind.Address).Placeholder();
        }
    }
}
