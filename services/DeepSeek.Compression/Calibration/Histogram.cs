namespace DeepSeek.Compression.Calibration;

/// <summary>Counts of |x| in equal bins from 0 to a known largest value. Exact zeros are left out: every range represents them exactly, and after ReLU they would drown the rest.</summary>
public sealed class Histogram(float largest)
{
    /// <summary>As many as TensorRT's calibrator uses: fine enough that a threshold is off by less than 0.05 % of the range.</summary>
    public const int BinCount = 2048;

    private readonly double[] _bins = new double[BinCount];
    private readonly float _scale = BinCount / largest;

    public float BinWidth => largest / BinCount;

    public ReadOnlySpan<double> Bins => _bins;

    public void Add(ReadOnlySpan<float> values)
    {
        foreach (var value in values)
        {
            if (value != 0)
                _bins[Math.Min((int)(Math.Abs(value) * _scale), BinCount - 1)]++;
        }
    }
}
