using DeepSeek.Engine.Export;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>
/// Normalisation over the batch, per channel, of [N, C] or [N, C, H, W] (Ioffe &amp; Szegedy, arXiv 1502.03167): training uses the
/// batch's statistics and follows them with running ones, which are used afterwards. Training needs more than one value per channel.
/// </summary>
public sealed class BatchNorm : Module
{
    private readonly double _momentum;
    private readonly double _epsilon;
    private readonly TensorHandle _mean;
    private readonly TensorHandle _variance;

    /// <summary>Starts as the identity.</summary>
    public BatchNorm(int channels, double momentum = 0.1, double epsilon = 1e-5)
    {
        (_momentum, _epsilon) = (momentum, epsilon);
        Weight = Parameter("weight", TensorHandle.Filled(1, channels));
        Bias = Parameter("bias", TensorHandle.Filled(0, channels));
        _mean = Buffer("running_mean", TensorHandle.Filled(0, channels));
        _variance = Buffer("running_var", TensorHandle.Filled(1, channels));
    }

    /// <summary>Scale.</summary>
    public TensorHandle Weight { get; }

    /// <summary>Shift.</summary>
    public TensorHandle Bias { get; }

    /// <summary>
    /// [relu](norm(x) [+ residual]) in one pass over memory, where no hook wants to see the norm's own output and it is not recomputed alone; otherwise the
    /// same one after the other.
    /// </summary>
    /// <param name="x">[N, C, ..].</param>
    /// <param name="residual">x's shape, or none.</param>
    /// <param name="relu">Whether values below 0 become 0.</param>
    public Tensor Forward(Tensor x, Tensor residual, bool relu)
    {
        if (!IsPlain)
        {
            var y = Forward(x);
            y = residual.IsNone ? y : y + residual;
            return relu ? y.Relu() : y;
        }
        using var range = EnterTrace();
        return Compute(x, residual, relu);
    }

    /// <summary>
    /// relu(norm(x) + residual) for two readers, such as a block's branch and its shortcut: two tensors in the same memory, neither of which may
    /// be changed in place. Their gradients are added while the backward pass reads them, not before. The second is none where the first is for both
    /// (with hooks on the norm, while it is recomputed or traced for export).
    /// </summary>
    public (Tensor First, Tensor Second) Fork(Tensor x, Tensor residual)
    {
        if (!IsPlain || OperatorTrace.Recording)
        {
            return (Forward(x, residual, relu: true), default);
        }
        using var range = EnterTrace();
        var (mean, variance) = Followed;
        return FusedBatchNorm.Fork(x, residual, Weight.Tensor, Bias.Tensor, mean, variance, Training, _momentum, _epsilon, relu: true);
    }

    /// <inheritdoc/>
    protected override bool KeepsPrecision => true;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Compute(x, default, relu: false);

    private bool IsPlain => !IsObserved && !Recomputes;

    // A batch that is computed a second time has been followed by the running statistics already.
    private (Tensor Mean, Tensor Variance) Followed => Training && Checkpoint.IsRecomputing ? (default, default) : (_mean.Tensor, _variance.Tensor);

    private Tensor Compute(Tensor x, Tensor residual, bool relu)
    {
        var (mean, variance) = Followed;
        return Functional.BatchNorm(x, Weight.Tensor, Bias.Tensor, mean, variance, Training, _momentum, _epsilon, residual, relu);
    }
}
