using System.Globalization;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Features;

/// <summary>Learns a <see cref="FeaturePipeline"/> from the rows of the train part, one pass, in memory that does not grow with them.</summary>
internal sealed class PipelineFitter
{
    /// <summary>Most distinct categories counted for one column.</summary>
    public const int MaxDistinct = 200_000;

    private readonly TablePlan _plan;
    private readonly int _maxCategories;
    private readonly Dictionary<int, NumberFit> _numbers;
    private readonly Dictionary<int, Dictionary<string, long>> _categories;

    public PipelineFitter(TablePlan plan, int maxCategories)
    {
        (_plan, _maxCategories) = (plan, maxCategories);
        _numbers = plan.Features.Where(c => c.Type != ColumnType.Categorical).ToDictionary(c => c.Index, c => new NumberFit(c.Type == ColumnType.DateTime));
        _categories = plan.Features.Where(c => c.Type == ColumnType.Categorical).ToDictionary(c => c.Index, _ => new Dictionary<string, long>(StringComparer.Ordinal));
    }

    public void Add(RowBatch batch, int row)
    {
        foreach (var (index, fit) in _numbers)
        {
            fit.Add(batch.Numbers[index][row]);
        }
        foreach (var (index, counts) in _categories)
        {
            var value = batch.Texts[index][row];
            if (value.Length == 0)
            {
                continue;
            }
            counts[value] = counts.GetValueOrDefault(value) + 1;
            if (counts.Count > MaxDistinct)
            {
                var name = DataFault.Shown(_plan.Columns[index].Name);
                throw new DataFault($"columns.{name}", $"column '{name}' has more than {MaxDistinct:N0} categories; give it the type text or the role ignore.");
            }
        }
    }

    public FeaturePipeline Fit()
    {
        var numbers = new List<NumberFeature>();
        var dates = new List<DateFeature>();
        var categories = new List<CategoryFeature>();
        foreach (var column in _plan.Features)
        {
            switch (column.Type)
            {
                case ColumnType.Categorical:
                    categories.Add(Category(column, _categories[column.Index]));
                    break;
                case ColumnType.DateTime:
                    dates.Add(Date(column, _numbers[column.Index]));
                    break;
                default:
                    numbers.Add(Number(column, _numbers[column.Index]));
                    break;
            }
        }
        return new FeaturePipeline { Numbers = numbers, Dates = dates, Categories = categories };
    }

    private static NumberFeature Number(ColumnPlan column, NumberFit fit)
    {
        if (column.Type == ColumnType.Boolean)
        {
            var fill = column.Missing == MissingPolicy.Constant ? Constant(column, 0) : fit.Moments.Mean > 0.5 ? 1 : 0;
            return new NumberFeature(column.Index, column.Name, Boolean: true, fill, 0, 1);
        }
        var (center, scale) = Scale(column.Scaling, fit.Moments);
        return new NumberFeature(column.Index, column.Name, Boolean: false, FillOf(column, fit), center, scale);
    }

    private static DateFeature Date(ColumnPlan column, NumberFit fit)
    {
        var origin = fit.Moments.Count == 0 ? 0 : fit.Moments.Min;
        var scales = fit.Parts!.Select((part, i) =>
        {
            // Elapsed days were added up in days since 1970; the origin shifts them.
            var (center, scale) = Scale(column.Scaling, part);
            return i == 4 && column.Scaling != Scaling.None ? (center - (origin / DateParts.SecondsPerDay), scale) : (center, scale);
        }).ToList();
        return new DateFeature(column.Index, column.Name, FillOf(column, fit), origin, [.. scales.Select(s => s.Item1)], [.. scales.Select(s => s.Item2)]);
    }

    private CategoryFeature Category(ColumnPlan column, Dictionary<string, long> counts)
    {
        var ranked = counts.OrderByDescending(c => c.Value).ThenBy(c => c.Key, StringComparer.Ordinal).Select(c => c.Key).ToList();
        if (column.Missing != MissingPolicy.Constant)
        {
            var kept = ranked.Take(_maxCategories).ToList();
            return new CategoryFeature(column.Index, column.Name, kept, Fill: 0);
        }
        // Missing is a category like any other, with a name that wins its place whatever its count.
        var constant = column.Fill ?? "missing";
        var values = ranked.Where(v => v != constant).Take(_maxCategories - 1).Append(constant).ToList();
        return new CategoryFeature(column.Index, column.Name, values, values.Count - 1);
    }

    private static double FillOf(ColumnPlan column, NumberFit fit) => column.Missing switch
    {
        MissingPolicy.Constant => Constant(column, 0),
        _ when fit.Moments.Count == 0 => 0,
        MissingPolicy.Mean => fit.Moments.Mean,
        _ => fit.Median.Quantile(0.5),
    };

    private static double Constant(ColumnPlan column, double otherwise) =>
        column.Fill is { } fill ? double.Parse(fill, NumberStyles.Float, CultureInfo.InvariantCulture) : otherwise;

    // A constant column is only centred: dividing by its zero deviation would make infinities.
    private static (double Center, double Scale) Scale(Scaling scaling, Moments moments)
    {
        var (center, scale) = scaling switch
        {
            Scaling.Standard when moments.Count > 0 => (moments.Mean, moments.Deviation),
            Scaling.MinMax when moments.Count > 0 => (moments.Min, moments.Max - moments.Min),
            _ => (0.0, 1.0),
        };
        return (center, scale > 0 && double.IsFinite(scale) ? scale : 1);
    }

    private sealed class NumberFit(bool date)
    {
        public Moments Moments = new();
        public QuantileSketch Median { get; } = new();
        public Moments[]? Parts { get; } = date ? [new(), new(), new(), new(), new()] : null;

        public void Add(double value)
        {
            if (double.IsNaN(value))
            {
                return;
            }
            Moments.Add(value);
            Median.Add(value);
            if (Parts is null)
            {
                return;
            }
            var parts = DateParts.Of(value);
            Parts[0].Add(parts.Year);
            Parts[1].Add(parts.Month);
            Parts[2].Add(parts.DayOfWeek);
            Parts[3].Add(parts.Hour);
            Parts[4].Add(value / DateParts.SecondsPerDay);
        }
    }
}
