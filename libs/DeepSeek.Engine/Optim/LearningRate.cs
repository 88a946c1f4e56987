namespace DeepSeek.Engine.Optim;

/// <summary>Courses of the learning rate: the rate of step <c>step</c> (from 0) of <c>total</c>.</summary>
public static class LearningRate
{
    /// <summary>Linear warm-up over a share of the steps, then constant.</summary>
    public static double Constant(double peak, long step, long total, double warmup) => step < WarmupSteps(total, warmup) ? Rise(peak, step, total, warmup) : peak;

    /// <summary>Linear warm-up, then half a cosine from the peak down to zero after the last step (Loshchilov &amp; Hutter, arXiv 1608.03983, eq. 5).</summary>
    public static double Cosine(double peak, long step, long total, double warmup)
    {
        var rising = WarmupSteps(total, warmup);
        return step < rising ? Rise(peak, step, total, warmup) : peak * 0.5 * (1 + Math.Cos(Math.PI * (step - rising) / Math.Max(1, total - rising)));
    }

    /// <summary>
    /// One cycle (Smith &amp; Topin, arXiv 1708.07120), as PyTorch's OneCycleLR with cosine annealing: from peak/25 up to the peak over
    /// the warm-up share (0 means 0.3), then down to peak/250000 at the last step.
    /// </summary>
    public static double OneCycle(double peak, long step, long total, double warmup)
    {
        var top = (warmup > 0 ? warmup : 0.3) * total - 1;
        var last = total - 1;
        return step <= top
            ? Anneal(peak / 25, peak, top > 0 ? step / top : 1)
            : Anneal(peak, peak / 250_000, last > top ? Math.Min(1, (step - top) / (last - top)) : 1);
    }

    private static double Anneal(double from, double to, double share) => to + (from - to) / 2 * (1 + Math.Cos(Math.PI * share));

    private static long WarmupSteps(long total, double warmup) => (long)Math.Round(total * warmup);

    private static double Rise(double peak, long step, long total, double warmup) => peak * (step + 1) / WarmupSteps(total, warmup);
}
