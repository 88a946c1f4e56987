using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Normalisation over the last dimension (Ba et al., arXiv 1607.06450): [.., features] → [.., features].</summary>
public sealed class LayerNorm : Module
{
    private readonly int _features;
    private readonly double _epsilon;

    /// <summary>Starts without scale and shift.</summary>
    public LayerNorm(int features, double epsilon = 1e-5)
    {
        (_features, _epsilon) = (features, epsilon);
        Weight = Parameter("weight", TensorHandle.Filled(1, features));
        Bias = Parameter("bias", TensorHandle.Filled(0, features));
    }

    /// <summary>Scale.</summary>
    public TensorHandle Weight { get; }

    /// <summary>Shift.</summary>
    public TensorHandle Bias { get; }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.LayerNorm(x, _features, Weight.Tensor, Bias.Tensor, _epsilon);
}
