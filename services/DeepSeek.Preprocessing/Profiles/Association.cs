using DeepSeek.Preprocessing.Features;

namespace DeepSeek.Preprocessing.Profiles;

/// <summary>How much of the target a column tells by itself: a measure from 0 (nothing) to 1 (all), over rows that have both.</summary>
internal abstract class Association
{
    public abstract string Measure { get; }

    /// <summary>Null when there is nothing to measure: one value only, or no rows.</summary>
    public abstract double? Value { get; }
}

/// <summary>Numbers against classes, or a number target against categories: share of the variance between the groups, η².</summary>
internal sealed class VarianceRatio : Association
{
    private readonly Dictionary<int, Moments> _groups = [];
    private Moments _all = new();

    public override string Measure => "etaSquared";

    public void Add(int group, double value)
    {
        if (double.IsNaN(value))
        {
            return;
        }
        _all.Add(value);
        var moments = _groups.TryGetValue(group, out var known) ? known : new Moments();
        moments.Add(value);
        _groups[group] = moments;
    }

    public override double? Value
    {
        get
        {
            if (_groups.Count < 2 || _all.Squares <= 0)
            {
                return null;
            }
            var between = _groups.Values.Sum(g => g.Count * (g.Mean - _all.Mean) * (g.Mean - _all.Mean));
            return Math.Clamp(between / _all.Squares, 0, 1);
        }
    }
}

/// <summary>Numbers against numbers: the square of Pearson's correlation.</summary>
internal sealed class SquaredCorrelation : Association
{
    private Moments _x = new();
    private Moments _y = new();
    private double _products;

    public override string Measure => "rSquared";

    public void Add(double x, double y)
    {
        if (double.IsNaN(x))
        {
            return;
        }
        var before = x - _x.Mean;
        _x.Add(x);
        _y.Add(y);
        _products += before * (y - _y.Mean);
    }

    public override double? Value =>
        _x.Squares <= 0 || _y.Squares <= 0 ? null : Math.Clamp(_products / _x.Squares * (_products / _y.Squares), 0, 1);
}

/// <summary>Categories against classes: Cramér's V (Mathematical Methods of Statistics, 1946, 21.9).</summary>
internal sealed class CramersV(int classes) : Association
{
    /// <summary>Cells of the table kept; beyond, the measure is left out rather than guessed.</summary>
    private const int MaxCells = 500_000;

    private readonly Dictionary<int, long[]> _table = [];
    private bool _tooLarge;

    public override string Measure => "cramersV";

    public void Add(int category, int classIndex)
    {
        if (_tooLarge)
        {
            return;
        }
        if (!_table.TryGetValue(category, out var row))
        {
            if ((_table.Count + 1) * classes > MaxCells)
            {
                _tooLarge = true;
                _table.Clear();
                return;
            }
            _table[category] = row = new long[classes];
        }
        row[classIndex]++;
    }

    public override double? Value
    {
        get
        {
            var columns = new double[classes];
            double total = 0;
            foreach (var row in _table.Values)
            {
                for (var c = 0; c < classes; c++)
                {
                    columns[c] += row[c];
                    total += row[c];
                }
            }
            var smaller = Math.Min(_table.Count, columns.Count(c => c > 0)) - 1;
            if (smaller < 1)
            {
                return null;
            }
            double chiSquared = 0;
            foreach (var row in _table.Values)
            {
                double sum = row.Sum();
                for (var c = 0; c < classes; c++)
                {
                    if (columns[c] > 0)
                    {
                        var expected = sum * columns[c] / total;
                        chiSquared += (row[c] - expected) * (row[c] - expected) / expected;
                    }
                }
            }
            return Math.Clamp(Math.Sqrt(chiSquared / total / smaller), 0, 1);
        }
    }
}
