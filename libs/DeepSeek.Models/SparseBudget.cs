using DeepSeek.Engine.Kernels;

namespace DeepSeek.Models;

/// <summary>
/// Fits sparse attention to a budget by the share of attention that is kept (<see cref="SparsePolicy.Mass"/>) rather than by an equal count of
/// blocks everywhere: heads whose attention is narrow then leave their part of the budget to those whose attention is wide.
/// </summary>
public static class SparseBudget
{
    private const double Resolution = 1.0 / 4096;

    /// <summary>
    /// Sets every layer's policy to the greatest mass at which a pass keeps no more than a share of the visible blocks, on average over the
    /// layers, by bisection to 1/4096 of the range.
    /// </summary>
    /// <param name="layers">A net's sparse layers; sizes of blocks, sink, window and stride of their policies stay.</param>
    /// <param name="density">The share of the visible blocks, in (0, 1].</param>
    /// <param name="pass">Runs the net over text like that to come; called about twelve times.</param>
    /// <returns>The mass, and the density it kept in the passes. When sink and window alone exceed the budget, the density is theirs.</returns>
    /// <exception cref="ArgumentException">There is no layer.</exception>
    public static (double Mass, double Density) Fit(IReadOnlyList<DynamicSparseAttention> layers, double density, Action pass)
    {
        if (layers.Count == 0)
        {
            throw new ArgumentException("The net has no sparse layers: make it with a SparsePolicy.", nameof(layers));
        }
        var reported = layers.Select(layer => layer.Reports).ToArray();
        foreach (var layer in layers)
        {
            layer.Reports = true;
        }
        if (density >= 1)
        {
            var all = Kept(1);
            Restore();
            return (1, all);
        }
        var (low, high) = (0.0, 1.0);
        var best = (Mass: Resolution, Density: double.NaN);
        while (high - low > Resolution)
        {
            var middle = (low + high) / 2;
            var kept = Kept(middle);
            if (kept <= density)
            {
                (low, best) = (middle, (middle, kept));
            }
            else
            {
                high = middle;
            }
        }
        if (double.IsNaN(best.Density))
        {
            best.Density = Kept(best.Mass);
        }
        Set(best.Mass);
        Restore();
        return best;

        double Kept(double mass)
        {
            Set(mass);
            pass();
            return layers.Average(layer => layer.Density()!.Value);
        }

        void Set(double mass)
        {
            foreach (var layer in layers)
            {
                layer.Policy = layer.Policy with { Density = 1, Mass = mass };
            }
        }

        void Restore()
        {
            foreach (var (layer, was) in layers.Zip(reported))
            {
                layer.Reports = was;
            }
        }
    }
}
