using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Zeroes each element with probability p while training (Srivastava et al., JMLR 2014); the identity otherwise.</summary>
public sealed class Dropout(double p) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Training && p > 0 ? Functional.Dropout(x, p, true) : x;
}
