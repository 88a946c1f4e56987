using System.IO.Hashing;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>Turns raw cells into typed, masked values by the plan. Past this point no raw personal value exists.</summary>
internal sealed class RowDecoder
{
    /// <summary>Beyond it the squares of a column's numbers leave the range of double precision, and with them its deviation.</summary>
    public const double MaxNumber = 1e150;

    private const string TooLarge = "is infinite or larger than 1e150, too large to compute with";

    private readonly TablePlan _plan;
    private readonly ColumnPlan[] _read;
    private readonly ColumnPlan? _splitColumn;
    private readonly Dictionary<int, TextInterner> _interners = [];
    private readonly Dictionary<string, int> _classes;

    /// <param name="plan">The columns.</param>
    /// <param name="splitColumn">The group or time column, if the split has one.</param>
    /// <param name="key">For hashed columns.</param>
    public RowDecoder(TablePlan plan, ColumnPlan? splitColumn, MaskingKey key)
    {
        (_plan, _splitColumn) = (plan, splitColumn);
        _read = [.. plan.Columns.Where(c => c.IsFeature || c == plan.Target || c == splitColumn)];
        _classes = plan.Classes.Select((name, index) => (name, index)).ToDictionary(p => p.name, p => p.index, StringComparer.Ordinal);
        foreach (var column in _read)
        {
            if (column.Type == ColumnType.Categorical || (column == plan.Target && plan.Task == LearningTask.Classification))
            {
                _interners[column.Index] = new TextInterner(TextInterner.For(column, key));
            }
        }
    }

    /// <summary>The table's columns to scan, in the order <see cref="Decode"/> expects them.</summary>
    public IReadOnlyList<int> Columns => [.. _read.Select(c => c.Index)];

    public void Decode(TableScan scan, RowBatch batch)
    {
        (batch.Rows, batch.FirstRow) = (scan.Rows, scan.FirstRow);
        for (var place = 0; place < _read.Length; place++)
        {
            var column = _read[place];
            if (column == _plan.Target)
            {
                Target(scan, place, batch);
            }
            else if (column == _splitColumn && column.Role == ColumnRole.Group)
            {
                Groups(scan, place, batch);
            }
            else if (column == _splitColumn && column.Role == ColumnRole.Time)
            {
                Times(scan, place, batch);
            }
            else if (column.Type == ColumnType.Categorical)
            {
                Categories(scan, place, batch.Texts[column.Index]);
            }
            else
            {
                Numbers(scan, place, batch.Numbers[column.Index]);
            }
        }
    }

    private void Target(TableScan scan, int place, RowBatch batch)
    {
        var target = _plan.Target;
        for (var row = 0; row < scan.Rows; row++)
        {
            batch.Classes[row] = 0;
            batch.Targets[row] = 0;
            if (_plan.Task == LearningTask.Regression)
            {
                var value = Number(scan, place, row, target);
                if (Math.Abs(value) > float.MaxValue)
                {
                    throw Fault(scan, row, target, "is too large for a target: it is stored in single precision, which ends at 3.4e38");
                }
                batch.Targets[row] = target.Mask is { Method: MaskMethod.Generalise } mask ? mask.Number(value) : value;
                continue;
            }
            var cell = scan.Kind(place) == CellKind.Text ? Cells.Trim(scan.Text(place, row)) : ClassText(scan, place, row);
            batch.Classes[row] = MissingTokens.Contains(cell) ? -1 : _classes[_interners[target.Index][cell]];
        }
    }

    private static ReadOnlySpan<byte> ClassText(TableScan scan, int place, int row)
    {
        var value = scan.Number(place, row);
        if (double.IsNaN(value))
        {
            return [];
        }
        return scan.Kind(place) == CellKind.Boolean
            ? (value != 0 ? "true"u8 : "false"u8)
            : System.Text.Encoding.ASCII.GetBytes(value.ToString("R", System.Globalization.CultureInfo.InvariantCulture));
    }

    private void Groups(TableScan scan, int place, RowBatch batch)
    {
        for (var row = 0; row < scan.Rows; row++)
        {
            if (scan.Kind(place) == CellKind.Text)
            {
                var cell = Cells.Trim(scan.Text(place, row));
                batch.Groups[row] = MissingTokens.Contains(cell) ? throw Unknown(scan, row, "group") : XxHash3.HashToUInt64(cell);
                continue;
            }
            var value = scan.Number(place, row);
            batch.Groups[row] = double.IsNaN(value) ? throw Unknown(scan, row, "group") : SeededRandom.Mix(BitConverter.DoubleToUInt64Bits(value));
        }
    }

    private void Times(TableScan scan, int place, RowBatch batch)
    {
        for (var row = 0; row < scan.Rows; row++)
        {
            var time = Number(scan, place, row, _splitColumn!);
            batch.Times[row] = double.IsNaN(time) ? throw Unknown(scan, row, "time") : time;
        }
    }

    private DataFault Unknown(TableScan scan, int row, string what) =>
        DataFault.At(scan.FirstRow + row + 1, _splitColumn!.Name, $"the {what} to split by is missing. Fill it in or leave the row out.");

    private void Categories(TableScan scan, int place, string[] values)
    {
        var interner = _interners[_read[place].Index];
        for (var row = 0; row < scan.Rows; row++)
        {
            if (scan.Kind(place) == CellKind.Text)
            {
                var cell = Cells.Trim(scan.Text(place, row));
                values[row] = MissingTokens.Contains(cell) ? "" : interner[cell];
                continue;
            }
            var cellText = ClassText(scan, place, row);
            values[row] = cellText.IsEmpty ? "" : interner[cellText];
        }
    }

    private void Numbers(TableScan scan, int place, double[] values)
    {
        var column = _read[place];
        var generalise = column.Mask is { Method: MaskMethod.Generalise };
        for (var row = 0; row < scan.Rows; row++)
        {
            var value = Number(scan, place, row, column);
            values[row] = !generalise ? value : column.Type == ColumnType.DateTime ? Mask.Instant(value) : column.Mask!.Number(value);
        }
    }

    private static double Number(TableScan scan, int place, int row, ColumnPlan column)
    {
        if (scan.Kind(place) != CellKind.Text)
        {
            var stored = scan.Number(place, row);
            return Math.Abs(stored) > MaxNumber ? throw Fault(scan, row, column, TooLarge) : stored; // NaN, a missing value, passes
        }
        var cell = Cells.Trim(scan.Text(place, row));
        if (MissingTokens.Contains(cell))
        {
            return double.NaN;
        }
        double value;
        switch (column.Type)
        {
            case ColumnType.Boolean:
                return Cells.TryBoolean(cell, out var truth) ? (truth ? 1 : 0)
                    : Cells.TryNumber(cell, out value) && value is 0 or 1 ? value
                    : throw Fault(scan, row, column, "is neither true nor false (true/false, yes/no, t/f, y/n, 1/0)");
            case ColumnType.DateTime:
                // A number is taken as seconds since 1970, the form the served model takes.
                return DateForms.TryParse(cell, column.DateForm, out value) ? value
                    : Cells.TryNumber(cell, out value) && Math.Abs(value) <= MaxNumber ? value
                    : throw Fault(scan, row, column, "is no date in the form of the column's other dates (ISO 8601, 31.05.2024, 05/31/2024 or 31/05/2024)");
            default:
                if (!Cells.TryNumber(cell, out value))
                {
                    throw Fault(scan, row, column, "is not a number");
                }
                return Math.Abs(value) <= MaxNumber ? value : throw Fault(scan, row, column, TooLarge);
        }
    }

    private static DataFault Fault(TableScan scan, int row, ColumnPlan column, string what) =>
        DataFault.At(scan.FirstRow + row + 1, column.Name, $"{what}. Correct the cell, empty it, or give the column another type.");
}
