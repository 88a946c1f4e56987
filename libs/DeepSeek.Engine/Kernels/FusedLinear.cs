using DeepSeek.Engine.Export;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>
/// Linear layers with what surrounds them. On an NVIDIA GPU in half precision, biases and GELU are added inside the matrix products by
/// cuBLASLt, and the biases' gradients are made on the way of other passes; elsewhere libtorch's operators do all. They are differentiated once.
/// </summary>
public static class FusedLinear
{
    private static readonly Operator s_linear = new("deepseek::linear");
    private static readonly Operator s_geluMlp = new("deepseek::gelu_mlp");
    private static readonly Operator s_projectedAttention = new("deepseek::projected_attention");
    private static readonly Operator s_attentionFirst = new("deepseek::projected_attention_first");
    private static readonly Operator s_attentionAgain = new("deepseek::projected_attention_again");
    private static readonly Operator s_tuneProducts = new("deepseek::tune_products");

    /// <summary>x·Wᵀ + b: x [.., in], W [out, in], b [out] or none, all of one type → [.., out].</summary>
    /// <param name="value">Whether the value is wanted, not the gradients alone: without, zeros of its sizes take its place and the product is left out.</param>
    public static Tensor Of(Tensor x, Tensor weight, Tensor bias = default, bool value = true) =>
        OperatorCall.To(s_linear).Add(x).Add(weight).Add(bias).Add(value).One();

    /// <summary>
    /// GELU(x·W₁ᵀ + b₁)·W₂ᵀ + b₂ with GELU's tanh form (Hendrycks and Gimpel, arXiv 1606.08415), a transformer's feed-forward branch:
    /// x [.., in], W₁ [width, in], W₂ [out, width], biases or none → [.., out]. Two tensors of the inner width are kept for the backward pass.
    /// </summary>
    /// <param name="value">Whether the value is wanted, not the gradients alone: without, zeros of its sizes take its place and the second product is left out.</param>
    public static Tensor GeluMlp(Tensor x, Tensor wide, Tensor wideBias, Tensor narrow, Tensor narrowBias, bool value = true) =>
        OperatorCall.To(s_geluMlp).Add(x).Add(wide).Add(wideBias).Add(narrow).Add(narrowBias).Add(value).One();

    /// <summary>
    /// softmax(q·kᵀ/√D)·v (Vaswani et al., arXiv 1706.03762, eq. 1) with q, k and v = x·Wᵀ + b: x [N, T, in], W [3·C, in] with the rows of
    /// queries, keys and values in this order, b [3·C] or none, heads of D = C/heads → [N, T, C]. By the attention that libtorch chooses;
    /// where that is cuDNN's, the gradients of q, k and v are put side by side and summed for b in one pass.
    /// </summary>
    /// <param name="heads">Divides C.</param>
    /// <param name="causal">Place t sees places up to t only.</param>
    public static Tensor ProjectedAttention(Tensor x, Tensor weight, Tensor bias, int heads, bool causal) =>
        OperatorCall.To(s_projectedAttention).Add(x).Add(weight).Add(bias).Add((long)heads).Add(causal).One();

    /// <summary>
    /// The same, unrecorded, for a checkpoint: <paramref name="kept"/> gets four tensors from which <see cref="ProjectedAttentionAgain"/> goes on
    /// without attending a second time (the result and 4 bytes a row and head), or <c>default</c> where libtorch's attention cannot take them: all but cuDNN's.
    /// </summary>
    public static Tensor ProjectedAttentionFirst(Tensor x, Tensor weight, Tensor bias, int heads, bool causal, Span<Tensor> kept)
    {
        Span<Tensor> results = [default, default, default, default, default];
        OperatorCall.To(s_attentionFirst).Add(x).Add(weight).Add(bias).Add((long)heads).Add(causal).Many(results);
        if (results[1].Elements > 0)
        {
            results[1..].CopyTo(kept);
        }
        return results[0];
    }

    /// <summary>The same, recorded, with what the first time kept; without, it attends again.</summary>
    public static Tensor ProjectedAttentionAgain(Tensor x, Tensor weight, Tensor bias, int heads, bool causal, ReadOnlySpan<Tensor> kept) => kept[0].IsNone
        ? ProjectedAttention(x, weight, bias, heads, causal)
        : OperatorCall.To(s_attentionAgain).Add(x).Add(weight).Add(bias).Add((long)heads).Add(causal).Add(kept[0]).Add(kept[1]).Add(kept[2]).Add(kept[3]).One();

    /// <summary>
    /// Whether the first product of a new shape tries out the algorithms that cuBLASLt proposes and keeps the fastest (some hundredths of a
    /// second a shape, in this process); otherwise cuBLASLt's first proposal. Which one wins may change from run to run, and with it the last
    /// bits of the results. Without CUDA it has no effect. Returns the former setting.
    /// </summary>
    public static bool TuneProducts(bool enabled = true) => OperatorCall.To(s_tuneProducts).Add(enabled).Truth();

    /// <summary>Whether the operators of several steps are the faster way for a layer's input and weight, and the way in which the layer multiplies (FP8, an export) allows them.</summary>
    public static bool Joins(Module layer, Tensor x, Tensor weight) => layer.Products switch
    {
        null => Suits(x, weight),
        Float8Mode => x.Device.IsCuda && !OperatorTrace.Recording,
        _ => false,
    };

    /// <summary>Whether two layers multiply in the same format, so that one operator can do both.</summary>
    public static bool Alike(Module first, Module second) => first.Products is Float8Mode == second.Products is Float8Mode;

    /// <summary><see cref="Of(Tensor, Tensor, Tensor, bool)"/> in the precision of a layer that <see cref="Joins"/>.</summary>
    public static Tensor Of(Module layer, Tensor x, Tensor weight, Tensor bias = default, bool value = true) =>
        layer.Products is Float8Mode eight ? eight.Apply(x, weight, bias) : Of(x, weight, bias, value);

    /// <summary><see cref="GeluMlp(Tensor, Tensor, Tensor, Tensor, Tensor, bool)"/> in the precision of two layers that join and are alike.</summary>
    public static Tensor GeluMlp(Tensor x, Module wideLayer, Tensor wide, Tensor wideBias, Module narrowLayer, Tensor narrow, Tensor narrowBias, bool value = true) =>
        wideLayer.Products is Float8Mode first && narrowLayer.Products is Float8Mode second
            ? Fp8Linear.GeluMlp(x, first.Function, wide, wideBias, second.Function, narrow, narrowBias, first.Type)
            : GeluMlp(x, wide, wideBias, narrow, narrowBias, value);

    /// <summary>Whether a layer's <see cref="ProjectedAttentionFirst"/> keeps what the second time goes on from: in FP8 it does not.</summary>
    public static bool KeepsAttention(Module layer) => layer.Products is null;

    /// <summary><see cref="ProjectedAttention(Tensor, Tensor, Tensor, int, bool)"/> in the precision of a layer that joins.</summary>
    public static Tensor ProjectedAttention(Module layer, Tensor x, Tensor weight, Tensor bias, int heads, bool causal) =>
        layer.Products is Float8Mode eight
            ? eight.Function.ProjectedAttention(x, weight, bias, heads, causal, eight.Type)
            : ProjectedAttention(x, weight, bias, heads, causal);

    /// <summary>Whether a layer should take <see cref="Of"/> for such an input and weight.</summary>
    internal static bool Suits(Tensor x, Tensor weight) =>
        x.Dtype is Dtype.BFloat16 or Dtype.Float16 && weight.Dtype == x.Dtype && x.Device.IsCuda && !OperatorTrace.Recording;
}
