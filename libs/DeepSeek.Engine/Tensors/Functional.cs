using DeepSeek.Engine.Export;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Precision;

namespace DeepSeek.Engine.Tensors;

/// <summary>Layers as functions of their weights.</summary>
public static partial class Functional
{
    /// <summary>x·Wᵀ + b: [N, in] · [out, in] → [N, out].</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor bias = default) =>
        LinearMode.Current is { } mode ? mode.Apply(x, weight, bias) : PlainLinear(x, weight, bias);

    internal static Tensor PlainLinear(Tensor x, Tensor weight, Tensor bias) =>
        FusedLinear.Suits(x, weight) ? FusedLinear.Of(x, weight, bias) : OperatorCall.To(Operators.Linear).Add(x).Add(weight).Add(bias).One();

    /// <summary>
    /// Normalisation over the batch, per channel, of [N, C, ..]; training uses the batch's own statistics and lets the running ones follow. A residual of
    /// x's shape is added and ReLU applied in the same pass where that is possible (channels-last layout, float32 weights).
    /// </summary>
    public static Tensor BatchNorm(Tensor x, Tensor weight, Tensor bias, Tensor runningMean, Tensor runningVariance, bool training, double momentum, double epsilon, Tensor residual = default, bool relu = false)
    {
        if (!OperatorTrace.Recording)
        {
            return FusedBatchNorm.Apply(x, residual, weight, bias, runningMean, runningVariance, training, momentum, epsilon, relu);
        }
        using var scope = TensorScope.Open();
        var y = OperatorCall.To(Operators.BatchNorm).Add(x).Add(weight).Add(bias).Add(runningMean).Add(runningVariance).Add(training).Add(momentum).Add(epsilon).Add(false).One();
        y = residual.IsNone ? y : y + residual;
        return scope.Return(relu ? y.Relu() : y);
    }

    /// <summary>Normalisation over the last dimension.</summary>
    public static Tensor LayerNorm(Tensor x, long features, Tensor weight, Tensor bias, double epsilon)
    {
        x = Widened(x, weight);
        return OperatorCall.To(Operators.LayerNorm).Add(x).Add([features]).Add(weight).Add(bias).Add(epsilon).Add(false).One();
    }

    /// <summary>Zeroes each element with probability p and scales the rest by 1/(1-p); the identity when not training.</summary>
    public static Tensor Dropout(Tensor x, double p, bool training)
    {
        if (training && p > 0)
        {
            Checkpoint.RefuseRandom("Dropout");
        }
        return OperatorCall.To(Operators.Dropout).Add(x).Add(p).Add(training).One();
    }

    /// <summary>Rows of a table by int64 index: [..] → [.., width]. The padding row, if any, is never learned.</summary>
    public static Tensor Embedding(Tensor table, Tensor indices, long padding = -1) => OperatorCall.To(Operators.Embedding).Add(table).Add(indices).Add(padding).One();
}
