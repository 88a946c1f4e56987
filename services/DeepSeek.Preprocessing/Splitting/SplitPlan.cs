using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;

namespace DeepSeek.Preprocessing.Splitting;

/// <summary>How the rows are split, with all that a pass needs to do it again.</summary>
internal sealed record SplitPlan
{
    public required SplitMethod Method { get; init; }
    public required SplitShares Shares { get; init; }
    public required ulong Seed { get; init; }
    public ColumnPlan? Column { get; init; }
    public IReadOnlyList<long> ClassRows { get; init; } = [];
    public IReadOnlyDictionary<ulong, long>? GroupRows { get; init; }
    public QuantileSketch? Times { get; init; }

    public ISplitter NewSplitter() => Method switch
    {
        SplitMethod.Grouped => new GroupedSplitter(GroupRows, Shares, Seed),
        SplitMethod.Time => new TimeSplitter(Times!, Shares),
        _ => new StratifiedSplitter(ClassRows, Shares, Seed),
    };

    /// <summary>The method asked for, or the one that fits the data.</summary>
    public static SplitMethod MethodOf(DatasetSpec spec, LearningTask task, IEnumerable<ColumnPlan> columns)
    {
        var method = spec.Split.Method
            ?? (columns.Any(c => c.Role == ColumnRole.Group) ? SplitMethod.Grouped
            : columns.Any(c => c.Role == ColumnRole.Time) ? SplitMethod.Time
            : task == LearningTask.Classification ? SplitMethod.Stratified
            : SplitMethod.Random);
        return method == SplitMethod.Stratified && task == LearningTask.Regression
            ? throw new DataFault("split.method", "a regression has no classes to stratify by; use random, grouped or time.")
            : method;
    }
}
