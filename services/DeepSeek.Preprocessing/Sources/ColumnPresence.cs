using System.IO.Hashing;

namespace DeepSeek.Preprocessing.Sources;

/// <summary>Finds, while a file streams by, columns without any value and a target with a single one.</summary>
internal sealed class ColumnPresence
{
    private readonly List<bool> _seen = [];
    private readonly List<ulong> _first = [];
    private readonly List<bool> _varies = [];

    public void Value(int column, ReadOnlySpan<byte> cell)
    {
        while (_seen.Count <= column)
        {
            _seen.Add(false);
            _first.Add(0);
            _varies.Add(false);
        }
        if (_varies[column] || MissingTokens.Contains(cell))
        {
            return;
        }
        var hash = XxHash3.HashToUInt64(cell.Trim(" \t"u8));
        if (!_seen[column])
        {
            _seen[column] = true;
            _first[column] = hash;
        }
        else if (_first[column] != hash)
        {
            _varies[column] = true;
        }
    }

    /// <exception cref="DataFault">Names the first column at fault.</exception>
    public void Check(IReadOnlyList<string> names, long rows, string target, Predicate<string> ignored)
    {
        if (rows == 0)
        {
            throw new DataFault("file", "holds no data rows.");
        }
        if (!names.Contains(target))
        {
            throw MissingTarget(names, target);
        }
        for (var column = 0; column < names.Count; column++)
        {
            var name = names[column];
            var seen = column < _seen.Count && _seen[column];
            if (name == target && !seen)
            {
                throw NoValues(name, "it is the target; label the rows");
            }
            if (name == target && !_varies[column])
            {
                throw OneValue(name);
            }
            if (!seen && !ignored(name))
            {
                throw NoValues(name, "drop it or give it the role ignore");
            }
        }
    }

    public static DataFault MissingTarget(IEnumerable<string> names, string target) => MissingColumn("target", names, target);

    public static DataFault MissingColumn(string field, IEnumerable<string> names, string wanted) =>
        new(field, $"the file has no column '{DataFault.Shown(wanted)}'. It has: {string.Join(", ", names.Take(20).Select(n => $"'{DataFault.Shown(n)}'"))}.");

    public static DataFault NoValues(string name, string remedy) =>
        new($"columns.{DataFault.Shown(name)}", $"column '{DataFault.Shown(name)}' has no value in any row; {remedy}.");

    public static DataFault OneValue(string name) =>
        new("target", $"column '{DataFault.Shown(name)}' has the same value in every row; there must be at least two classes.");
}
