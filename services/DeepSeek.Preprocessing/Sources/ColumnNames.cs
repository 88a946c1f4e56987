using System.Text;

namespace DeepSeek.Preprocessing.Sources;

internal static class ColumnNames
{
    public const int MaxLength = 200;

    /// <summary>Names from a header row, or column1, column2, … where there is none or a name is left out.</summary>
    public static List<string> FromHeader(IReadOnlyList<byte[]> fields, bool header, TextLimits limits)
    {
        if (fields.Count > limits.MaxColumns)
        {
            throw new DataFault("file", $"has {fields.Count} columns; at most {limits.MaxColumns} are read.");
        }
        var names = new List<string>(fields.Count);
        for (var column = 0; column < fields.Count; column++)
        {
            var name = header ? Encoding.UTF8.GetString(fields[column]).Trim() : "";
            names.Add(name.Length == 0 ? $"column{column + 1}" : name);
        }
        Check(names);
        return names;
    }

    /// <exception cref="DataFault">A name is too long, holds control characters or stands twice.</exception>
    public static void Check(IReadOnlyList<string> names)
    {
        var first = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var column = 0; column < names.Count; column++)
        {
            var name = names[column];
            if (name.Length > MaxLength || name.Any(char.IsControl))
            {
                throw new DataFault("file", $"the name of column {column + 1} is longer than {MaxLength} characters or holds control characters.");
            }
            if (!first.TryAdd(name, column))
            {
                throw new DataFault("file", $"the name '{DataFault.Shown(name)}' stands twice in the header, in columns {first[name] + 1} and {column + 1}; names must differ.");
            }
        }
    }
}
