using DeepSeek.Engine.Export;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>
/// Dropout, residual addition and normalisation in one pass over memory, forward and backward. Dropout's mask comes from a
/// counter-based generator (Philox) keyed by seed and offset: it is never stored, and the same seed and offset give the same
/// mask on every device. Give each layer and step its own offset.
/// </summary>
public static class FusedNorm
{
    private static readonly Operator s_dropoutAddNorm = new("deepseek::dropout_add_norm");
    private static readonly Operator s_norm = new("deepseek::norm");
    private static readonly Operator s_draw = new("randint");

    /// <summary>
    /// z = residual + dropout(x + xBias), y = LayerNorm(z) (Ba et al., arXiv 1607.06450) over the last dimension: returns y, of x's
    /// type, and z, the new residual stream, of the residual's type.
    /// </summary>
    /// <param name="x">[.., columns], float32, bfloat16 or float16.</param>
    /// <param name="residual">The same shape, of x's type or float32; none: z = dropout(x), which without dropout and bias is x itself.</param>
    /// <param name="weight">[columns], or none.</param>
    /// <param name="bias">[columns], of weight's type, or none.</param>
    /// <param name="p">Share of elements dropped, in [0, 1], rounded to a multiple of 1/65536.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="seed">Key of the mask.</param>
    /// <param name="offset">Counter of the mask.</param>
    /// <param name="rng">Optional [2] int64 on x's device, added to seed and offset when the kernel runs: a captured step advances it.</param>
    /// <param name="xBias">[columns], or none: the bias of the linear layer that made x without it. Its gradient is made in the same pass. For float32 residuals: a half-precision sum takes a small bias in as rounding allows.</param>
    public static (Tensor Y, Tensor Z) DropoutAddLayerNorm(Tensor x, Tensor residual, Tensor weight, Tensor bias, double p, double epsilon, long seed, long offset, Tensor rng = default, Tensor xBias = default) =>
        OperatorCall.To(s_dropoutAddNorm).Add(x).Add(residual).Add(weight).Add(bias).Add(p).Add(epsilon).Add(false).Add(seed).Add(offset).Add(rng).Add(xBias).Two();

    /// <summary>The same with RMSNorm (Zhang and Sennrich, arXiv 1910.07467): y = z / sqrt(mean(z²) + epsilon) · weight.</summary>
    public static (Tensor Y, Tensor Z) DropoutAddRmsNorm(Tensor x, Tensor residual, Tensor weight, double p, double epsilon, long seed, long offset, Tensor rng = default) =>
        OperatorCall.To(s_dropoutAddNorm).Add(x).Add(residual).Add(weight).None().Add(p).Add(epsilon).Add(true).Add(seed).Add(offset).Add(rng).None().Two();

    /// <summary>Whether layers should take these operators for such tensors: types they know, and no export that wants plain ones.</summary>
    internal static bool Suits(Tensor x, Tensor residual) =>
        Computes(x.Dtype) && (residual.Dtype == x.Dtype || residual.Dtype == Dtype.Float32) && !OperatorTrace.Recording;

    /// <summary>Whether the fused element-wise kernels compute in a type.</summary>
    internal static bool Computes(Dtype dtype) => dtype is Dtype.Float32 or Dtype.BFloat16 or Dtype.Float16;

    /// <summary>Seed and offset of a mask, int64 [2] drawn from the generator of x's device: in a captured step each replay draws its own.</summary>
    internal static Tensor Draw(Tensor x)
    {
        Checkpoint.RefuseRandom("Dropout");
        return OperatorCall.To(s_draw).Add(long.MaxValue).Add([2]).Add(Dtype.Int64).None().Add(x.Device).One();
    }

    /// <summary>LayerNorm over the last dimension, of x's type; weight and bias [columns] or none.</summary>
    public static Tensor LayerNorm(Tensor x, Tensor weight, Tensor bias, double epsilon) =>
        OperatorCall.To(s_norm).Add(x).Add(weight).Add(bias).Add(epsilon).Add(false).One();

    /// <summary>RMSNorm over the last dimension, of x's type; weight [columns] or none.</summary>
    public static Tensor RmsNorm(Tensor x, Tensor weight, double epsilon) =>
        OperatorCall.To(s_norm).Add(x).Add(weight).None().Add(epsilon).Add(true).One();
}
