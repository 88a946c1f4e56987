using System.IO.Hashing;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Preprocessing.Sources;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>First pass: what the columns hold, and the numbers that the split needs. Sees raw cells and keeps none but class names.</summary>
internal sealed class TableSurvey
{
    private readonly ColumnScan[] _scans;
    private readonly DatasetSpec _spec;
    private readonly int _target;
    private readonly int _group;
    private readonly int _time;
    private readonly Dictionary<DateForm, QuantileSketch> _times = [];
    private Dictionary<ulong, long>? _groups = [];

    private TableSurvey(DatasetSpec spec, TableFile table)
    {
        _spec = spec;
        _scans = [.. table.Columns.Select(c => new ColumnScan(c))];
        _target = Find(table, DatasetSpecRules.TargetOf(spec), "target");
        _scans[_target].KeepClasses();
        _group = spec.Split.Method is null or SplitMethod.Grouped ? Find(table, DatasetSpecRules.SplitColumnOf(spec, ColumnRole.Group), "split.column") : -1;
        _time = spec.Split.Method is null or SplitMethod.Time ? Find(table, DatasetSpecRules.SplitColumnOf(spec, ColumnRole.Time), "split.column") : -1;
    }

    public IReadOnlyList<ColumnScan> Scans => _scans;

    public long Rows { get; private set; }

    public long LabelledRows { get; private set; }

    public static TableSurvey Take(DatasetSpec spec, TableFile table, string path, DuckDbLimits limits, Action<long> progress, CancellationToken cancellationToken)
    {
        var survey = new TableSurvey(spec, table);
        using var scan = new TableScan(path, table, [.. Enumerable.Range(0, table.Columns.Count)], limits);
        while (scan.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            survey.Add(scan);
            progress(survey.Rows);
        }
        survey.Check();
        return survey;
    }

    public SplitPlan PlanSplit(TablePlan plan)
    {
        var method = SplitPlan.MethodOf(_spec, plan.Task, plan.Columns);
        var column = method switch { SplitMethod.Grouped => _group, SplitMethod.Time => _time, _ => -1 };
        var by = column < 0 ? null : plan.Columns[column];
        if (method == SplitMethod.Time && by!.Type is not (ColumnType.DateTime or ColumnType.Numeric))
        {
            throw new DataFault("split.column", $"column '{DataFault.Shown(by.Name)}' holds neither dates nor numbers, so its rows have no order in time.");
        }
        return new SplitPlan
        {
            Method = method,
            Shares = new SplitShares(_spec.Split.Train, _spec.Split.Validation, _spec.Split.Test),
            Seed = (ulong)_spec.Split.Seed,
            Column = by,
            ClassRows = method == SplitMethod.Stratified ? plan.ClassRows : [LabelledRows],
            GroupRows = _groups,
            Times = by is null || method != SplitMethod.Time ? null : _times.GetValueOrDefault(TimeForm(by)) ?? new QuantileSketch(),
        };
    }

    private DateForm TimeForm(ColumnPlan column) =>
        column.Type == ColumnType.DateTime && _scans[column.Index].Source.Kind == CellKind.Text ? column.DateForm : DateForm.None;

    private void Add(TableScan scan)
    {
        for (var column = 0; column < _scans.Length; column++)
        {
            var into = _scans[column];
            for (var row = 0; row < scan.Rows; row++)
            {
                if (scan.Kind(column) == CellKind.Text)
                {
                    into.Text(scan.Text(column, row), _spec.Privacy.Detect);
                }
                else
                {
                    into.Typed(scan.Number(column, row), _spec.Privacy.Detect);
                }
            }
        }
        for (var row = 0; row < scan.Rows; row++)
        {
            var unlabelled = scan.Kind(_target) == CellKind.Text ? MissingTokens.Contains(scan.Text(_target, row)) : double.IsNaN(scan.Number(_target, row));
            if (unlabelled)
            {
                continue;
            }
            LabelledRows++;
            Group(scan, row);
            Time(scan, row);
        }
        Rows += scan.Rows;
    }

    private void Group(TableScan scan, int row)
    {
        if (_group < 0 || _groups is null)
        {
            return;
        }
        var hash = scan.Kind(_group) == CellKind.Text
            ? XxHash3.HashToUInt64(Cells.Trim(scan.Text(_group, row)))
            : SeededRandom.Mix(BitConverter.DoubleToUInt64Bits(scan.Number(_group, row)));
        _groups[hash] = _groups.GetValueOrDefault(hash) + 1;
        if (_groups.Count > GroupedSplitter.MaxCountedGroups)
        {
            _groups = null;
        }
    }

    private void Time(TableScan scan, int row)
    {
        if (_time < 0)
        {
            return;
        }
        if (scan.Kind(_time) != CellKind.Text)
        {
            Time(DateForm.None, scan.Number(_time, row));
            return;
        }
        // Which form the column has is known only at the end, so each one that fits gets its own sketch.
        var cell = Cells.Trim(scan.Text(_time, row));
        var forms = DateForms.Match(cell);
        foreach (var form in (ReadOnlySpan<DateForm>)[DateForm.Iso, DateForm.DayDotMonth, DateForm.MonthSlashDay, DateForm.DaySlashMonth])
        {
            if (forms.HasFlag(form) && DateForms.TryParse(cell, form, out var seconds))
            {
                Time(form, seconds);
            }
        }
        if (forms == DateForm.None && Cells.TryNumber(cell, out var number))
        {
            Time(DateForm.None, number);
        }
    }

    private void Time(DateForm form, double value)
    {
        if (!double.IsFinite(value))
        {
            return;
        }
        if (!_times.TryGetValue(form, out var sketch))
        {
            _times[form] = sketch = new QuantileSketch();
        }
        sketch.Add(value);
    }

    // The upload found most of these already; Parquet and a spool written before a rule was added get here.
    private void Check()
    {
        if (LabelledRows == 0)
        {
            throw Rows == 0 ? new DataFault("file", "holds no data rows.") : ColumnPresence.NoValues(_scans[_target].Source.Name, "it is the target; label the rows");
        }
    }

    private static int Find(TableFile table, string? name, string field)
    {
        for (var i = 0; i < table.Columns.Count && name is not null; i++)
        {
            if (table.Columns[i].Name == name)
            {
                return i;
            }
        }
        return name is null ? -1 : throw ColumnPresence.MissingColumn(field, table.Columns.Select(c => c.Name), name);
    }
}
