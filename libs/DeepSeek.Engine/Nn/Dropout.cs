using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Zeroes each element with probability p while training (Srivastava et al., JMLR 2014); the identity otherwise.</summary>
public sealed class Dropout(double p) : Module
{
    /// <summary>Share of elements zeroed, 0 to below 1; a captured step keeps the share it was captured with.</summary>
    public double Probability { get; set; } = p;

    /// <summary>Whether it lets everything through as things are, and nobody looks.</summary>
    public bool IsIdentity => (!Training || Probability <= 0) && !IsObserved;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Training && Probability > 0 ? Functional.Dropout(x, Probability, true) : x;
}
