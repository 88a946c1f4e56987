using DeepSeek.Preprocessing.Columns;

namespace DeepSeek.Preprocessing.Splitting;

/// <summary>
/// The earliest rows train, the latest test. Rows of one instant stay together: a cut lies between two instants, so the shares
/// can be off by the rows of one instant, and by the sketch's rank error for large tables.
/// </summary>
internal sealed class TimeSplitter : ISplitter
{
    public TimeSplitter(QuantileSketch times, SplitShares shares)
    {
        var cuts = times.Quantiles([shares.Train, shares.Train + shares.Validation]);
        ValidationFrom = shares.Validation > 0 || shares.Test > 0 ? cuts[0] : double.PositiveInfinity;
        TestFrom = shares.Test > 0 ? cuts[1] : double.PositiveInfinity;
        if (shares.Validation <= 0)
        {
            ValidationFrom = TestFrom;
        }
    }

    /// <summary>Rows at this time or later do not train.</summary>
    public double ValidationFrom { get; }

    /// <summary>Rows at this time or later test.</summary>
    public double TestFrom { get; }

    public SplitPart Next(SplitKey row) =>
        row.Time < ValidationFrom ? SplitPart.Train : row.Time < TestFrom ? SplitPart.Validation : SplitPart.Test;
}
