namespace DeepSeek.Explainability.Models;

/// <summary>Raw model inputs by column: <c>double[]</c> (missing = NaN) or <c>string[]</c> (missing = ""), all of <see cref="Rows"/> entries.</summary>
public sealed class FeatureTable
{
    /// <summary>A table over the given columns, in the model's input order.</summary>
    /// <exception cref="ArgumentException">A column is of another type or length.</exception>
    public FeatureTable(IReadOnlyList<string> names, IReadOnlyList<Array> columns)
    {
        Rows = columns.Count == 0 ? 0 : columns[0].Length;
        for (var c = 0; c < columns.Count; c++)
        {
            if (columns[c] is not (double[] or string[]) || columns[c].Length != Rows)
            {
                throw new ArgumentException($"Column '{names[c]}' must be double[{Rows}] or string[{Rows}].", nameof(columns));
            }
        }

        Names = names;
        Columns = columns;
    }

    /// <summary>Column names, in the model's input order.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>One array a column.</summary>
    public IReadOnlyList<Array> Columns { get; }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>A column's value in one row: a double or a string.</summary>
    public object this[int row, int column] => Columns[column].GetValue(row)!;

    /// <summary>The given rows, in the given order.</summary>
    public FeatureTable Take(IReadOnlyList<int> rows) => new(Names, [.. Columns.Select(column => Take(column, rows))]);

    private static Array Take(Array column, IReadOnlyList<int> rows) => column is double[] numbers
        ? rows.Select(row => numbers[row]).ToArray()
        : rows.Select(row => ((string[])column)[row]).ToArray();
}
