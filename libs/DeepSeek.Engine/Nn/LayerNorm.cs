using DeepSeek.Engine.Kernels;
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

    /// <summary>
    /// z = residual + x and y = this norm of z, in one pass over memory and with one pass back; both of x's shape. A linear layer may leave its
    /// bias [features] to this pass, which then adds it to x.
    /// </summary>
    public (Tensor Y, Tensor Z) AddForward(Tensor x, Tensor residual, Tensor xBias = default) =>
        FusedNorm.DropoutAddLayerNorm(x, residual, Weight.Tensor, Bias.Tensor, 0, _epsilon, 0, 0, default, xBias);

    /// <inheritdoc/>
    protected override bool KeepsPrecision => true;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x.Dtype == Weight.Tensor.Dtype
        ? Functional.LayerNorm(x, _features, Weight.Tensor, Bias.Tensor, _epsilon)
        : FusedNorm.LayerNorm(x, Weight.Tensor, Bias.Tensor, _epsilon); // of x's type, with float32 weights
}
