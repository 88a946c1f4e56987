using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Zeroes each element with probability p while training (Srivastava et al., JMLR 2014); the identity otherwise.</summary>
public sealed class Dropout(double p) : Module
{
    /// <summary>Share of elements zeroed, 0 to below 1; a captured step keeps the share it was captured with.</summary>
    public double Probability { get; set; } = p;

    /// <summary>Whether it lets everything through as things are, and nobody looks.</summary>
    public bool IsIdentity => (!Training || Probability <= 0) && !IsObserved;

    /// <summary>Share of elements zeroed now.</summary>
    internal double Share => Training ? Math.Max(0, Probability) : 0;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Share > 0 ? Functional.Dropout(x, Share, true) : x;
}
