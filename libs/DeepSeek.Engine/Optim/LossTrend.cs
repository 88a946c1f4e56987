namespace DeepSeek.Engine.Optim;

/// <summary>Mean loss over some steps: where its middle lies in the run, and the variance of that mean.</summary>
public readonly record struct LossWindow(double Centre, double Mean, double Variance);

/// <summary>Whether a noisy loss falls.</summary>
public static class LossTrend
{
    /// <summary>
    /// Slope of a least-squares line through window means, weighted by their certainty, in units of its standard error: −3 is a clear
    /// fall, 0 a plateau. Where the means scatter more about the line than their variances tell, the error is widened by that
    /// (Birge's ratio, Phys. Rev. 40, 207, 1932). Fewer than three windows have no trend: 0.
    /// </summary>
    public static double InStandardErrors(ReadOnlySpan<LossWindow> windows)
    {
        if (windows.Length < 3)
        {
            return 0;
        }
        double weights = 0, centre = 0, mean = 0;
        foreach (var w in windows)
        {
            var weight = Weight(w);
            weights += weight;
            centre += weight * w.Centre;
            mean += weight * w.Mean;
        }
        centre /= weights;
        mean /= weights;
        double spread = 0, slope = 0;
        foreach (var w in windows)
        {
            spread += Weight(w) * (w.Centre - centre) * (w.Centre - centre);
            slope += Weight(w) * (w.Centre - centre) * (w.Mean - mean);
        }
        slope /= spread;
        double misfit = 0;
        foreach (var w in windows)
        {
            var off = w.Mean - mean - slope * (w.Centre - centre);
            misfit += Weight(w) * off * off;
        }
        return slope * Math.Sqrt(spread / Math.Max(1, misfit / (windows.Length - 2)));
    }

    // Rounding alone moves a float32 loss by about 1e-7 of its size.
    private static double Weight(LossWindow w) => 1 / (w.Variance + 1e-14 * w.Mean * w.Mean + double.Epsilon * 1e30);
}
