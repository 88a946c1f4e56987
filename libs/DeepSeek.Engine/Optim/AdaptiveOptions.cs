namespace DeepSeek.Engine.Optim;

/// <summary>Settings of an <see cref="AdaptiveOptimizer"/>. The first three are meant to be set; the others have values that need no care.</summary>
public sealed record AdaptiveOptions
{
    /// <summary>Rate of the first steps after warm-up, above 0. While the loss falls clearly it may grow to <see cref="LargestGrowth"/> times this.</summary>
    public double InitialLearningRate { get; init; } = 3e-3;

    /// <summary>What the rate is multiplied by at a plateau, a rise or a divergence; between 0 and 1.</summary>
    public double DecayRate { get; init; } = 0.5;

    /// <summary>
    /// How many standard errors the loss must fall by over the last windows to count as falling, at least 0. The threshold is dynamic:
    /// the standard error is measured from the steps' losses, so the threshold follows their noise.
    /// </summary>
    public double DynamicThreshold { get; init; } = 1;

    /// <summary>Decay of matrices and kernels at the start, in units of the learning rate.</summary>
    public double WeightDecay { get; init; } = 1e-2;

    /// <summary>Whether overfitting may raise weight decay, up to tenfold or 0.1.</summary>
    public bool AdjustWeightDecay { get; init; } = true;

    /// <summary>Whether dropout follows the gap between training and validation; it moves by <see cref="DropoutStep"/>.</summary>
    public bool AdjustDropout { get; init; } = true;

    /// <summary>Added to or taken from the probability of every <see cref="Nn.Dropout"/> of the net.</summary>
    public double DropoutStep { get; init; } = 0.05;

    /// <summary>No dropout rises above this.</summary>
    public double LargestDropout { get; init; } = 0.5;

    /// <summary>Share of the average in the weights that gradients are taken at; β of schedule-free learning.</summary>
    public double Interpolation { get; init; } = 0.9;

    /// <summary>Power of the step number by which iterates weigh in the average; 0 weighs them evenly.</summary>
    public double AveragePower { get; init; } = 1;

    /// <summary>Running mean of squared gradients: its decay.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to the root of the second moment.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Steps over which the rate rises linearly at the start and after a divergence.</summary>
    public int Warmup { get; init; } = 16;

    /// <summary>Losses in the shortest window; windows grow with the run to a twenty-fourth of it.</summary>
    public int Window { get; init; } = 16;

    /// <summary>Factor on the rate after a window in which the loss fell clearly; 1 never raises it.</summary>
    public double Growth { get; init; } = 1.1;

    /// <summary>The rate stays below this many times the initial one.</summary>
    public double LargestGrowth { get; init; } = 4;

    internal void Check()
    {
        Require(InitialLearningRate > 0 && double.IsFinite(InitialLearningRate), nameof(InitialLearningRate), "above 0");
        Require(DecayRate is > 0 and < 1, nameof(DecayRate), "between 0 and 1");
        Require(DynamicThreshold >= 0 && double.IsFinite(DynamicThreshold), nameof(DynamicThreshold), "at least 0");
        Require(WeightDecay >= 0 && double.IsFinite(WeightDecay), nameof(WeightDecay), "at least 0");
        Require(DropoutStep is >= 0 and < 1, nameof(DropoutStep), "0 to below 1");
        Require(LargestDropout is >= 0 and < 1, nameof(LargestDropout), "0 to below 1");
        Require(Interpolation is >= 0 and < 1, nameof(Interpolation), "0 to below 1");
        Require(AveragePower >= 0 && double.IsFinite(AveragePower), nameof(AveragePower), "at least 0");
        Require(Warmup >= 0, nameof(Warmup), "at least 0");
        Require(Window >= 4, nameof(Window), "at least 4");
        Require(Growth >= 1 && LargestGrowth >= 1, nameof(Growth), "at least 1");
    }

    private static void Require(bool holds, string name, string range)
    {
        if (!holds)
        {
            throw new ArgumentOutOfRangeException(name, $"{name} must be {range}.");
        }
    }
}
