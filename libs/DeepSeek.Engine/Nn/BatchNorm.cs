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

    /// <inheritdoc/>
    protected override bool KeepsPrecision => true;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x)
    {
        // A batch that is computed a second time has been followed by the running statistics already.
        var known = Training && Checkpoint.IsRecomputing;
        return Functional.BatchNorm(x, Weight.Tensor, Bias.Tensor, known ? default : _mean.Tensor, known ? default : _variance.Tensor, Training, _momentum, _epsilon);
    }
}
