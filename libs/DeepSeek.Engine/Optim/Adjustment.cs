namespace DeepSeek.Engine.Optim;

/// <summary>What an <see cref="AdaptiveOptimizer"/> changed.</summary>
public enum Adjusted
{
    /// <summary>The learning rate.</summary>
    LearningRate = 1,
    /// <summary>The weight decay.</summary>
    WeightDecay = 2,
    /// <summary>What is added to every dropout's probability.</summary>
    Dropout = 3,
}

/// <summary>Why it did.</summary>
public enum AdjustmentCause
{
    /// <summary>The loss fell by clearly more than its noise, before any plateau: the rate may be larger. Evidence: the trend in standard errors.</summary>
    Falling = 1,
    /// <summary>The loss no longer fell by more than its noise. Evidence: the trend in standard errors.</summary>
    Plateau = 2,
    /// <summary>The loss rose by clearly more than its noise. Evidence: the trend in standard errors.</summary>
    Rise = 3,
    /// <summary>The loss left its range or was no number: the last safe weights are back. Evidence: the loss.</summary>
    Divergence = 4,
    /// <summary>The gradient was no number: the last safe weights are back. Evidence: its norm.</summary>
    BrokenGradient = 5,
    /// <summary>The validation loss rose above its best while training went on. Evidence: the rise over the best.</summary>
    Overfitting = 6,
    /// <summary>The validation loss improves and is no higher than the training loss: regularisation holds back. Evidence: their difference.</summary>
    Underfitting = 7,
}

/// <summary>One entry of the log.</summary>
public sealed record Adjustment(long Step, Adjusted What, AdjustmentCause Cause, double From, double To, double Evidence)
{
    /// <summary>The entry as a sentence.</summary>
    public override string ToString() => FormattableString.Invariant($"step {Step}: {Name(What)} {From:g4} → {To:g4} because {Reason}");

    private string Reason => Cause switch
    {
        AdjustmentCause.Falling => FormattableString.Invariant($"the loss falls by {-Evidence:g3} standard errors"),
        AdjustmentCause.Plateau => FormattableString.Invariant($"the loss no longer falls (trend {Evidence:g3} standard errors)"),
        AdjustmentCause.Rise => FormattableString.Invariant($"the loss rises by {Evidence:g3} standard errors"),
        AdjustmentCause.Divergence => FormattableString.Invariant($"the loss went to {Evidence:g4}; the last safe weights are back"),
        AdjustmentCause.BrokenGradient => FormattableString.Invariant($"the gradient's norm is {Evidence:g3}; the last safe weights are back"),
        AdjustmentCause.Overfitting => FormattableString.Invariant($"the validation loss is {Evidence:g3} above its best"),
        _ => FormattableString.Invariant($"the validation loss improves and is {-Evidence:g3} below the training loss"),
    };

    private static string Name(Adjusted what) => what switch
    {
        Adjusted.LearningRate => "learning rate",
        Adjusted.WeightDecay => "weight decay",
        _ => "dropout shift",
    };
}
