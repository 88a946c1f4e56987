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
    /// z = residual + dropout(x + xBias), of the residual's type, and y = this norm of z; both of x's shape. One pass over memory and one back, unless
    /// a hook looks between, an export wants plain operators, or the types are others than the kernel's. y has x's type then.
    /// </summary>
    /// <param name="x">A branch's output [.., features].</param>
    /// <param name="residual">The stream it is added to, of x's type or float32.</param>
    /// <param name="xBias">The bias [features] of the linear layer that made x without it, or none.</param>
    /// <param name="dropout">The layer whose share of x is dropped, or null.</param>
    public (Tensor Y, Tensor Z) AddForward(Tensor x, Tensor residual, Tensor xBias = default, Dropout? dropout = null)
    {
        if (ResidualAdd.IsPlain(this, dropout, x, residual))
        {
            var z = ResidualAdd.Of(x, residual, xBias, dropout);
            return (Forward(z), z);
        }
        using var range = EnterTrace();
        var p = dropout?.Share ?? 0;
        return FusedNorm.DropoutAddLayerNorm(x, residual, Weight.Tensor, Bias.Tensor, p, _epsilon, 0, 0, p > 0 ? FusedNorm.Draw(x) : default, xBias);
    }

    /// <summary>This norm of x, of x's type, and x itself for what goes past the norm: their gradients meet in one pass.</summary>
    public (Tensor Y, Tensor X) Split(Tensor x)
    {
        if (ResidualAdd.IsPlain(this, null, x, x))
        {
            return (Forward(x), x);
        }
        using var range = EnterTrace();
        return FusedNorm.DropoutAddLayerNorm(x, default, Weight.Tensor, Bias.Tensor, 0, _epsilon, 0, 0);
    }

    /// <inheritdoc/>
    protected override bool KeepsPrecision => true;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x.Dtype == Weight.Tensor.Dtype
        ? Functional.LayerNorm(x, _features, Weight.Tensor, Bias.Tensor, _epsilon)
        : FusedNorm.LayerNorm(x, Weight.Tensor, Bias.Tensor, _epsilon); // of x's type, with float32 weights
}
