namespace DeepSeek.Compression.Calibration;

/// <summary>
/// The clipping threshold of least information loss: S. Migacz, "8-bit Inference with TensorRT", GTC 2017.
/// For each candidate the reference distribution P is the histogram up to it with the clipped counts added to its last bin;
/// Q is the same part, without the clipped counts, merged to the levels that 8 bits have and spread again over the bins
/// that were not empty. The candidate with the least KL(P‖Q) wins.
/// </summary>
public static class EntropyThreshold
{
    private const int Step = 8;

    /// <summary>Stands in for zero counts of Q where P has some, as a share of all counts.</summary>
    private const double Epsilon = 1e-4;

    /// <param name="bins">Counts of |x|.</param>
    /// <param name="binWidth">Width of a bin.</param>
    /// <param name="levels">Number of quantisation steps from 0 to the threshold: 255 for one-sided tensors, 127 for two-sided ones.</param>
    /// <returns>The threshold; the whole range when there is nothing to gain.</returns>
    public static float Find(ReadOnlySpan<double> bins, float binWidth, int levels)
    {
        var total = 0.0;
        foreach (var count in bins)
            total += count;
        if (total == 0)
            return bins.Length * binWidth;
        var (best, bestDivergence) = (bins.Length, double.PositiveInfinity);
        var inside = 0.0;
        var next = 0;
        Span<double> q = new double[bins.Length];
        for (var end = Math.Min(levels, bins.Length); ; end = Math.Min(end + Step, bins.Length))
        {
            for (; next < end; next++)
                inside += bins[next];
            var divergence = inside == 0 ? double.PositiveInfinity : Divergence(bins[..end], total - inside, inside, levels, q[..end]);
            // On a tie the wider range clips less.
            if (divergence <= bestDivergence)
                (best, bestDivergence) = (end, divergence);
            if (end == bins.Length)
                return best * binWidth;
        }
    }

    private static double Divergence(ReadOnlySpan<double> bins, double clipped, double inside, int levels, Span<double> q)
    {
        q.Clear();
        var n = bins.Length;
        for (var level = 0; level < levels; level++)
        {
            var start = (int)((long)level * n / levels);
            var end = (int)((long)(level + 1) * n / levels);
            var (sum, filled) = (0.0, 0);
            for (var i = start; i < end; i++)
            {
                sum += bins[i];
                if (bins[i] > 0)
                    filled++;
            }
            for (var i = start; i < end; i++)
            {
                if (bins[i] > 0)
                    q[i] = sum / filled;
            }
        }
        var total = inside + clipped;
        var divergence = 0.0;
        for (var i = 0; i < n; i++)
        {
            var p = (i == n - 1 ? bins[i] + clipped : bins[i]) / total;
            if (p > 0)
                divergence += p * Math.Log(p / Math.Max(q[i] / inside, Epsilon));
        }
        return divergence;
    }
}
