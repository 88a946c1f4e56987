using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Division by the root mean square of the last dimension (Zhang &amp; Sennrich, arXiv 1910.07467): [.., features] → [.., features].</summary>
public sealed class RmsNorm : Module
{
    private readonly double _epsilon;

    /// <summary>Starts without scale.</summary>
    public RmsNorm(int features, double epsilon = 1e-6)
    {
        _epsilon = epsilon;
        Weight = Parameter("weight", TensorHandle.Filled(1, features));
    }

    /// <summary>Scale.</summary>
    public TensorHandle Weight { get; }

    /// <summary>z = residual + dropout(x) and y = this norm of z, as <see cref="LayerNorm.AddForward"/>.</summary>
    public (Tensor Y, Tensor Z) AddForward(Tensor x, Tensor residual, Dropout? dropout = null)
    {
        if (ResidualAdd.IsPlain(this, dropout, x, residual))
        {
            var z = ResidualAdd.Of(x, residual, default, dropout);
            return (Forward(z), z);
        }
        using var range = EnterTrace();
        var p = dropout?.Share ?? 0;
        return FusedNorm.DropoutAddRmsNorm(x, residual, Weight.Tensor, p, _epsilon, 0, 0, p > 0 ? FusedNorm.Draw(x) : default);
    }

    /// <inheritdoc/>
    protected override bool KeepsPrecision => true;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x.Dtype == Weight.Tensor.Dtype
        ? Functional.RmsNorm(x, Weight.Tensor, _epsilon)
        : FusedNorm.RmsNorm(x, Weight.Tensor, _epsilon); // of x's type, with float32 weights
}

/// <summary>Normalisation of each group of channels of each sample (Wu &amp; He, arXiv 1803.08494): [N, C, ..] → [N, C, ..].</summary>
public sealed class GroupNorm : Module
{
    private readonly int _groups;
    private readonly double _epsilon;
    private readonly TensorHandle _weight;
    private readonly TensorHandle _bias;

    /// <summary>Starts without scale and shift.</summary>
    /// <exception cref="ArgumentException">The groups do not divide the channels.</exception>
    public GroupNorm(int groups, int channels, double epsilon = 1e-5)
    {
        (_groups, _epsilon) = (channels % groups == 0 ? groups : throw new ArgumentException($"{groups} groups do not divide {channels} channels.", nameof(groups)), epsilon);
        _weight = Parameter("weight", TensorHandle.Filled(1, channels));
        _bias = Parameter("bias", TensorHandle.Filled(0, channels));
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.GroupNorm(x, _groups, _weight.Tensor, _bias.Tensor, _epsilon);
}
