using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>Settings of a <see cref="PrecisionController"/>.</summary>
public sealed record PrecisionOptions
{
    /// <summary>The half precision of the middle level: BFloat16, or Float16 on GPUs.</summary>
    public Dtype Half { get; init; } = Dtype.BFloat16;

    /// <summary>Where layers begin; those that stay high begin and stay in the net's own precision.</summary>
    public LayerPrecision Start { get; init; } = LayerPrecision.Half;

    /// <summary>The lowest precision a layer may get.</summary>
    public LayerPrecision Lowest { get; init; } = LayerPrecision.Float8;

    /// <summary>Which layers stay in the net's own precision, by dotted path; null: the last one, which is the head. Norms are never moved.</summary>
    public Func<string, bool>? KeepHigh { get; init; }

    /// <summary>
    /// The net runs under <see cref="Autocast"/> of the half precision: layers in half precision are left to it, FP8's results have its type.
    /// The weights are float32 then.
    /// </summary>
    public bool UnderAutocast { get; init; }

    /// <summary>Steps between two looks at the ranges; at least 1. A look costs one pass over each layer's input, weight and gradient, reads 3 small tensors a layer from the device, and needs a step that runs as written.</summary>
    public int Interval { get; init; } = 16;

    /// <summary>Looks that find nothing to do become rarer, each time by half, down to one in so many steps.</summary>
    public int LongestInterval { get; init; } = 128;

    /// <summary>Looks in a row that must be good before a layer goes lower; doubles whenever the layer has to come back.</summary>
    public int Patience { get; init; } = 3;

    /// <summary>A layer leaves a format that would turn more than this share of its non-zero values to zero…</summary>
    public double HighUnderflow { get; init; } = 0.05;

    /// <summary>…and enters one only when the share is below this.</summary>
    public double LowUnderflow { get; init; } = 0.01;

    /// <summary>A layer leaves a format whose largest number more than this share of its values passes under the delayed scale, and enters it only below a tenth of that.</summary>
    public double HighOverflow { get; init; } = 1e-3;

    /// <summary>Looks (and in FP8 steps) whose maxima a scale goes by.</summary>
    public int History { get; init; } = 16;

    /// <summary>Powers of two left free above the history's maximum.</summary>
    public int Margin { get; init; } = 1;

    /// <summary>Steps after a lowering over which its mean loss is compared with the one before.</summary>
    public int GuardSteps { get; init; } = 32;

    /// <summary>Losses on a GPU that are waited for at once: reading each would keep the host from asking for the next step in time.</summary>
    public int LossesAtOnce { get; init; } = 8;

    /// <summary>Share by which that loss may lie above the former one, beyond three standard errors of it.</summary>
    public double LossTolerance { get; init; } = 0.005;

    /// <summary>Computes FP8 in float32 where the device has no FP8 products: the same numbers, more slowly. For tests and studies.</summary>
    public bool Emulate { get; init; }

    /// <summary>Time of half-precision products over FP8's that makes FP8 worth it.</summary>
    public double LeastSpeedup { get; init; } = 1.05;

    /// <summary>Measures that ratio for a layer of (rows, inputs, outputs); null: on the device itself, once a shape.</summary>
    public Func<long, long, long, double>? Speedup { get; init; }
}
