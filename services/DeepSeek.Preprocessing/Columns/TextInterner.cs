using System.Text;
using DeepSeek.Preprocessing.Privacy;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>Gives each distinct cell of a column one string, masked or cleaned of personal data once instead of row by row.</summary>
internal sealed class TextInterner(Func<string, string> transform)
{
    /// <summary>Beyond it strings are made anew for each cell: columns with so many values are not features in practice.</summary>
    private const int Capacity = 100_000;

    private readonly Dictionary<string, string> _known = new(StringComparer.Ordinal);

    public static Func<string, string> For(ColumnPlan column, MaskingKey key) =>
        column.Mask is { } mask ? text => mask.Apply(text, key)
        : column.Clean ? text => PersonalData.RedactInside(text) ?? text
        : text => text;

    public string this[ReadOnlySpan<byte> cell]
    {
        get
        {
            if (cell.Length > 1024)
            {
                return transform(Encoding.UTF8.GetString(cell));
            }
            Span<char> characters = stackalloc char[1024];
            var text = characters[..Encoding.UTF8.GetChars(cell, characters)];
            var lookup = _known.GetAlternateLookup<ReadOnlySpan<char>>();
            if (lookup.TryGetValue(text, out var known))
            {
                return known;
            }
            var raw = text.ToString();
            var value = transform(raw);
            if (_known.Count < Capacity)
            {
                _known.Add(raw, value);
            }
            return value;
        }
    }
}
