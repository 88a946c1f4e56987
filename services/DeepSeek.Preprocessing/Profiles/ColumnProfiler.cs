using System.Globalization;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Features;

namespace DeepSeek.Preprocessing.Profiles;

/// <summary>Statistics of one feature column over all labelled rows, of masked values.</summary>
internal sealed class ColumnProfiler
{
    public const int Bins = 20;
    private const int Top = 10;
    private const int MaxCounted = 100_000;
    private static readonly double[] Shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

    private readonly ColumnPlan _plan;
    private readonly LearningTask _task;
    private readonly QuantileSketch _sketch = new();
    private readonly DistinctCounter _distinct = new();
    private readonly Dictionary<string, (int Id, long Count)> _values = new(StringComparer.Ordinal);
    private readonly Association _association;
    private Moments _moments = new();
    private long _count;
    private long _missing;
    private long[]? _bins;

    public ColumnProfiler(ColumnPlan plan, LearningTask task, int classes)
    {
        (_plan, _task) = (plan, task);
        _association = (plan.Type == ColumnType.Categorical, task) switch
        {
            (true, LearningTask.Classification) => new CramersV(classes),
            (false, LearningTask.Regression) => new SquaredCorrelation(),
            _ => new VarianceRatio(),
        };
    }

    public double? Association => _association.Value;

    public void Add(RowBatch batch, int row)
    {
        _count++;
        if (_plan.Type == ColumnType.Categorical)
        {
            Category(batch, row);
            return;
        }
        var value = batch.Numbers[_plan.Index][row];
        if (double.IsNaN(value))
        {
            _missing++;
            return;
        }
        _moments.Add(value);
        _sketch.Add(value);
        _distinct.Add(SeededRandom.Mix(BitConverter.DoubleToUInt64Bits(value)));
        if (_association is SquaredCorrelation correlation)
        {
            correlation.Add(value, batch.Targets[row]);
        }
        else
        {
            ((VarianceRatio)_association).Add(batch.Classes[row], value);
        }
    }

    /// <summary>Second pass: the range is known now.</summary>
    public void AddToHistogram(RowBatch batch, int row)
    {
        if (_plan.Type == ColumnType.Categorical || double.IsNaN(batch.Numbers[_plan.Index][row]))
        {
            return;
        }
        _bins ??= new long[Bins];
        var span = _moments.Max - _moments.Min;
        var bin = span > 0 ? (int)((batch.Numbers[_plan.Index][row] - _moments.Min) / span * Bins) : 0;
        _bins[Math.Clamp(bin, 0, Bins - 1)]++;
    }

    public ColumnProfile Profile()
    {
        var profile = Of(_plan, _count, _missing, _distinct.Count, !_distinct.Exact) with
        {
            Association = _association.Value is { } value ? new AssociationValue(_association.Measure, value) : null,
        };
        if (_plan.Type == ColumnType.Categorical)
        {
            return profile with
            {
                Top = [.. _values.OrderByDescending(v => v.Value.Count).ThenBy(v => v.Key, StringComparer.Ordinal).Take(Top).Select(v => new ValueCount(v.Key, v.Value.Count))],
            };
        }
        if (_moments.Count == 0)
        {
            return profile;
        }
        var quantiles = _sketch.Quantiles(Shares);
        return profile with
        {
            Mean = _moments.Mean,
            Std = _moments.Deviation,
            Min = _moments.Min,
            Max = _moments.Max,
            Quantiles = Shares.Select((share, i) => (share, i)).ToDictionary(p => p.share.ToString(CultureInfo.InvariantCulture), p => quantiles[p.i]),
            Histogram = new Histogram(_moments.Min, _moments.Max, _bins ?? new long[Bins]),
        };
    }

    /// <summary>A column that is not learnt from: counts only, no values.</summary>
    public static ColumnProfile Of(ColumnPlan plan, long count, long missing, long distinct, bool estimated) => new()
    {
        Name = plan.Name,
        Type = Wire(plan.Type),
        Role = Wire(plan.Role),
        Reason = plan.Reason,
        Masked = plan.Mask is { } mask ? new MaskedProfile(Wire(mask.Method), mask.Why) : null,
        Count = count,
        Missing = missing,
        Distinct = distinct,
        DistinctEstimated = estimated,
    };

    public static string Wire<T>(T value) where T : struct, Enum
    {
        var name = value.ToString();
        return char.ToLowerInvariant(name[0]) + name[1..];
    }

    private void Category(RowBatch batch, int row)
    {
        var value = batch.Texts[_plan.Index][row];
        if (value.Length == 0)
        {
            _missing++;
            return;
        }
        _distinct.Add(XxHash3.HashToUInt64(MemoryMarshal.AsBytes(value.AsSpan())));
        ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(_values, value, out var known);
        if (!known)
        {
            if (_values.Count > MaxCounted)
            {
                _values.Remove(value);
                return;
            }
            slot.Id = _values.Count - 1;
        }
        slot.Count++;
        if (_association is CramersV table)
        {
            table.Add(slot.Id, batch.Classes[row]);
        }
        else if (_task == LearningTask.Regression)
        {
            ((VarianceRatio)_association).Add(slot.Id, batch.Targets[row]);
        }
    }
}
