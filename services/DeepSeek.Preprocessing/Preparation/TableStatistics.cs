using System.IO.Hashing;
using System.Runtime.InteropServices;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Features;
using DeepSeek.Preprocessing.Profiles;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>Second pass: the pipeline is fitted on the train part, and everything else the profile tells is counted.</summary>
internal sealed class TableStatistics
{
    private const double CopyThreshold = 0.9999;
    private const int MaxGroups = 2_000_000;

    private readonly TablePlan _plan;
    private readonly SplitPlan _split;
    private readonly PipelineFitter _fitter;
    private readonly DuplicateFinder _duplicates = new();
    private readonly Dictionary<ulong, byte> _groups = [];
    private readonly long[] _partRows = new long[3];
    private readonly long[,] _classRows;
    private readonly Moments[] _times = [new(), new(), new()];
    private readonly byte[] _rowKey;
    private Moments _target = new();

    public TableStatistics(TablePlan plan, SplitPlan split, int maxCategories)
    {
        (_plan, _split) = (plan, split);
        _fitter = new PipelineFitter(plan, maxCategories);
        Profilers = plan.Features.Select(c => new ColumnProfiler(c, plan.Task, plan.Classes.Count)).ToList();
        _classRows = new long[Math.Max(1, plan.Classes.Count), 3];
        _rowKey = new byte[(plan.Features.Count() + 1) * sizeof(ulong)];
    }

    public IReadOnlyList<ColumnProfiler> Profilers { get; }

    public IReadOnlyList<long> PartRows => _partRows;

    public void Add(RowBatch batch, int row, SplitPart part)
    {
        _partRows[(int)part]++;
        _classRows[batch.Classes[row], (int)part]++;
        _duplicates.Add(HashOf(batch, row), part);
        if (_plan.Task == LearningTask.Regression)
        {
            _target.Add(batch.Targets[row]);
        }
        if (part == SplitPart.Train)
        {
            _fitter.Add(batch, row);
        }
        foreach (var profiler in Profilers)
        {
            profiler.Add(batch, row);
        }
        if (_split.Method == SplitMethod.Time)
        {
            _times[(int)part].Add(batch.Times[row]);
        }
        if (_split.Method == SplitMethod.Grouped && _groups.Count < MaxGroups)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(_groups, batch.Groups[row], out _) |= (byte)(1 << (int)part);
        }
    }

    /// <exception cref="DataFault">A part that was asked for has no rows.</exception>
    public FeaturePipeline Fit()
    {
        double[] shares = [_split.Shares.Train, _split.Shares.Validation, _split.Shares.Test];
        for (var part = 0; part < 3; part++)
        {
            if (shares[part] > 0 && _partRows[part] == 0)
            {
                throw new DataFault($"split.{ColumnProfiler.Wire((SplitPart)part)}",
                    $"none of the {_partRows.Sum():N0} labelled rows falls into this part{(_split.Method is SplitMethod.Time ? ": too many rows share one time" : "")}. Use more rows, another share or another method.");
            }
        }
        return _fitter.Fit();
    }

    public DatasetProfile Profile(TableSurvey survey)
    {
        var features = _plan.Features.Zip(Profilers).ToDictionary(p => p.First.Index, p => p.Second);
        var leakage = Leakage(features);
        var warnings = new List<string>(_plan.Warnings);
        if (survey.Rows > _partRows.Sum())
        {
            warnings.Add($"{survey.Rows - _partRows.Sum():N0} rows have no target and were left out.");
        }
        if (leakage.DuplicatesAcrossParts > 0)
        {
            warnings.Add($"{(leakage.Estimated ? "about " : "")}{leakage.DuplicatesAcrossParts:N0} rows equal a row of another part: the test part is easier than new data.");
        }
        warnings.AddRange(leakage.TargetCopies.Select(c => $"column '{DataFault.Shown(c)}' tells the target all by itself: is it known before the target is?"));
        for (var c = 0; c < _plan.Classes.Count; c++)
        {
            if (_classRows[c, 0] == 0)
            {
                warnings.Add($"class '{_plan.Classes[c]}' has no row in the train part and cannot be learnt.");
            }
        }
        return new DatasetProfile
        {
            Rows = _partRows.Sum(),
            RowsWithoutTarget = survey.Rows - _partRows.Sum(),
            SplitRows = Enum.GetValues<SplitPart>().ToDictionary(p => ColumnProfiler.Wire(p), p => _partRows[(int)p]),
            Columns = [.. _plan.Columns.Select(c => features.TryGetValue(c.Index, out var profiler) ? profiler.Profile() : Counts(survey.Scans[c.Index], c))],
            Target = Target(),
            Leakage = leakage,
            Warnings = warnings,
        };
    }

    private LeakageReport Leakage(Dictionary<int, ColumnProfiler> features) => new()
    {
        DuplicateRows = _duplicates.Duplicates,
        DuplicatesAcrossParts = _duplicates.Crossing,
        Estimated = !_duplicates.Exact,
        GroupsAcrossParts = _split.Method == SplitMethod.Grouped ? _groups.Values.Count(parts => (parts & (parts - 1)) != 0) : null,
        TimeOrdered = _split.Method == SplitMethod.Time ? Ordered() : null,
        TargetCopies = [.. _plan.Features.Where(c => features[c.Index].Association >= CopyThreshold && features[c.Index].Profile().Distinct * 5 <= _partRows.Sum()
            || features[c.Index].Association >= CopyThreshold && c.Type != ColumnType.Categorical).Select(c => c.Name)],
    };

    private bool Ordered()
    {
        var latest = double.NegativeInfinity;
        foreach (var part in _times.Where(t => t.Count > 0))
        {
            if (part.Min <= latest)
            {
                return false;
            }
            latest = part.Max;
        }
        return true;
    }

    private TargetProfile Target() => _plan.Task == LearningTask.Regression
        ? new TargetProfile { Name = _plan.Target.Name, Mean = _target.Mean, Std = _target.Deviation, Min = _target.Min, Max = _target.Max }
        : new TargetProfile
        {
            Name = _plan.Target.Name,
            Classes = [.. _plan.Classes.Select((name, c) => new ClassProfile(name, _classRows[c, 0], _classRows[c, 1], _classRows[c, 2]))],
        };

    private static ColumnProfile Counts(ColumnScan scan, ColumnPlan plan) =>
        ColumnProfiler.Of(plan, scan.Rows, scan.Missing, scan.Distinct.Count, !scan.Distinct.Exact);

    private ulong HashOf(RowBatch batch, int row)
    {
        var cells = MemoryMarshal.Cast<byte, ulong>(_rowKey.AsSpan());
        var at = 0;
        foreach (var column in _plan.Columns)
        {
            if (!column.IsFeature)
            {
                continue;
            }
            cells[at++] = column.Type == ColumnType.Categorical
                ? XxHash3.HashToUInt64(MemoryMarshal.AsBytes(batch.Texts[column.Index][row].AsSpan()))
                : BitConverter.DoubleToUInt64Bits(batch.Numbers[column.Index][row]);
        }
        cells[at] = (ulong)batch.Classes[row] ^ BitConverter.DoubleToUInt64Bits(batch.Targets[row]);
        return XxHash3.HashToUInt64(_rowKey);
    }
}
