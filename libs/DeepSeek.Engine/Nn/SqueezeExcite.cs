using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>
/// x·σ(W₂·silu(W₁·mean(x))): channels weighed by what the whole image holds (Hu et al., arXiv 1709.01507), named as torchvision
/// does: <c>fc1</c> and <c>fc2</c>, 1×1 kernels. [N, C, H, W] → [N, C, H, W].
/// </summary>
public sealed class SqueezeExcite : Module
{
    private readonly Conv2d _squeeze;
    private readonly Conv2d _excite;

    /// <summary>Draws initial weights.</summary>
    public SqueezeExcite(int channels, int squeezed)
    {
        _squeeze = Child("fc1", new Conv2d(channels, squeezed, 1));
        _excite = Child("fc2", new Conv2d(squeezed, channels, 1));
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        var weights = _excite.Forward(_squeeze.Forward(Functional.AdaptiveAvgPool(x, 1)).Silu()).Sigmoid(); // [N, C, 1, 1]
        return scope.Return(weights * x);
    }
}

/// <summary>Drops a sample's whole branch with probability p while training and scales the kept ones by 1/(1-p) (Huang et al., arXiv 1603.09382).</summary>
public sealed class StochasticDepth(double p) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x)
    {
        if (!Training || p <= 0)
        {
            return x;
        }
        using var scope = TensorScope.Open();
        Span<long> sizes = stackalloc long[x.Rank];
        sizes.Fill(1);
        sizes[0] = x.Size(0);
        var kept = x.Detach().NewFull(0, sizes);
        Checkpoint.RefuseRandom("StochasticDepth");
        kept.BernoulliInPlace(1 - p);
        return scope.Return(x * (kept / (1 - p)));
    }
}
