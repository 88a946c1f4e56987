using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Privacy;

namespace DeepSeek.Preprocessing.Columns;

/// <summary>What was decided about a column before anything is fitted.</summary>
internal sealed record ColumnPlan
{
    /// <summary>Place in the source table.</summary>
    public required int Index { get; init; }
    public required string Name { get; init; }
    public required ColumnType Type { get; init; }
    public required ColumnRole Role { get; init; }

    /// <summary>Why it is ignored, or why it got its type; null when there is nothing to explain.</summary>
    public string? Reason { get; init; }
    public Mask? Mask { get; init; }

    /// <summary>Personal data inside its texts is replaced before they are stored.</summary>
    public bool Clean { get; init; }
    public DateForm DateForm { get; init; }
    public MissingPolicy Missing { get; init; }
    public string? Fill { get; init; }
    public Scaling Scaling { get; init; }

    public bool IsFeature => Role == ColumnRole.Feature;

    public bool IsText => Type is ColumnType.Categorical or ColumnType.Text;
}

/// <summary>All columns, the target and what it is to be learnt as.</summary>
internal sealed record TablePlan(
    IReadOnlyList<ColumnPlan> Columns,
    LearningTask Task,
    ColumnPlan Target,
    IReadOnlyList<string> Classes,
    IReadOnlyList<long> ClassRows,
    IReadOnlyList<string> Warnings)
{
    public IEnumerable<ColumnPlan> Features => Columns.Where(c => c.IsFeature);
}
