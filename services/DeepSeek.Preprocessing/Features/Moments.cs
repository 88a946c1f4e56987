namespace DeepSeek.Preprocessing.Features;

/// <summary>Count, mean, variance and range of a stream (Welford, Technometrics 4, 1962).</summary>
internal struct Moments
{
    private double _squares;

    public Moments()
    {
    }

    public long Count { get; private set; }
    public double Mean { get; private set; }
    public double Min { get; private set; } = double.PositiveInfinity;
    public double Max { get; private set; } = double.NegativeInfinity;

    /// <summary>Of the population: divided by the count, as feature scaling does.</summary>
    public readonly double Deviation => Count == 0 ? 0 : Math.Sqrt(_squares / Count);

    /// <summary>Σ (x - mean)².</summary>
    public readonly double Squares => _squares;

    public void Add(double value)
    {
        Count++;
        var difference = value - Mean;
        Mean += difference / Count;
        _squares += difference * (value - Mean);
        Min = Math.Min(Min, value);
        Max = Math.Max(Max, value);
    }
}
