using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Element-wise non-linearities.</summary>
public enum ActivationKind
{
    /// <summary>max(0, x).</summary>
    Relu = 1,
    /// <summary>x·Φ(x), exact.</summary>
    Gelu = 2,
    /// <summary>x·σ(x).</summary>
    Silu = 3,
    /// <summary>Hyperbolic tangent.</summary>
    Tanh = 4,
    /// <summary>Logistic function.</summary>
    Sigmoid = 5,
    /// <summary>x/2·(1 + tanh(√(2/π)(x + 0.044715 x³))), Hendrycks &amp; Gimpel (arXiv 1606.08415).</summary>
    GeluTanh = 6,
}

/// <summary>An element-wise non-linearity.</summary>
public sealed class Activation(ActivationKind kind) : Module
{
    internal bool IsPlainGelu => kind is ActivationKind.Gelu or ActivationKind.GeluTanh && !IsObserved && !Recomputes;

    internal bool IsTanhForm => kind == ActivationKind.GeluTanh;

    internal bool IsPlainRelu => kind == ActivationKind.Relu && !IsObserved && !Recomputes;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => kind switch
    {
        ActivationKind.Relu => x.Relu(),
        ActivationKind.Gelu => x.Gelu(),
        ActivationKind.Silu => x.Silu(),
        ActivationKind.Tanh => x.Tanh(),
        ActivationKind.Sigmoid => x.Sigmoid(),
        ActivationKind.GeluTanh => x.GeluTanh(),
        _ => throw new InvalidOperationException($"Unknown activation {kind}."),
    };
}
