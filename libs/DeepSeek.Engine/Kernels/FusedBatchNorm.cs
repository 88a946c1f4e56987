using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>
/// Batch normalisation with addition and ReLU in one pass over memory, forward and backward, where the channels lie beside each other
/// (channels-last) with float32 weights; on a GPU their number must be a multiple of 8. Elsewhere the same numbers come from libtorch's
/// operators one after the other. Training needs more than one value per channel.
/// </summary>
internal static class FusedBatchNorm
{
    private static readonly Operator s_norm = new("deepseek::batch_norm");
    private static readonly Operator s_fork = new("deepseek::batch_norm_fork");

    /// <summary>[relu](norm(x) [+ residual]), of x's type; x [N, C, ..], the residual of its shape or none. Running statistics follow in training.</summary>
    internal static Tensor Apply(Tensor x, Tensor residual, Tensor weight, Tensor bias, Tensor runningMean, Tensor runningVariance, bool training, double momentum, double epsilon, bool relu) =>
        Call(s_norm, x, residual, weight, bias, runningMean, runningVariance, training, momentum, epsilon, relu).One();

    /// <summary>The result twice in the same memory; the gradients of both are added inside the backward pass.</summary>
    internal static (Tensor First, Tensor Second) Fork(Tensor x, Tensor residual, Tensor weight, Tensor bias, Tensor runningMean, Tensor runningVariance, bool training, double momentum, double epsilon, bool relu) =>
        Call(s_fork, x, residual, weight, bias, runningMean, runningVariance, training, momentum, epsilon, relu).Two();

    private static OperatorCall Call(Operator op, Tensor x, Tensor residual, Tensor weight, Tensor bias, Tensor runningMean, Tensor runningVariance, bool training, double momentum, double epsilon, bool relu) =>
        OperatorCall.To(op).Add(x).Add(residual).Add(weight).Add(bias).Add(runningMean).Add(runningVariance).Add(training).Add(momentum).Add(epsilon).Add(relu);
}
