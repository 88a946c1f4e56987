using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>Attention of each query to the keys that its list names, the list being the same for all its heads.</summary>
public static class GatherAttention
{
    private static readonly Operator s_attention = new("deepseek::gather_attention");

    /// <summary>
    /// Keys outside the list take no part in the softmax and are never read, whatever they hold; a query with an empty list gives 0.
    /// Forward and backward are deterministic. In prefill and decode alike, a query's output is the same, bit for bit.
    /// </summary>
    /// <param name="q">[N, H, T, D]; float32, bfloat16, float16 or float64 (by plain operators). On CUDA D is at most 256.</param>
    /// <param name="k">[N, Hkv, S, D], Hkv a divisor of H; any strides, but rows contiguous.</param>
    /// <param name="v">Like k.</param>
    /// <param name="selection">Lists of N sequences and T queries. On the CPU a list that does not ascend strictly (a key twice) or names a key that does not exist is refused; on CUDA its query gives NaN.</param>
    /// <returns>[N, H, T, D] of q's type, and float32 [N, H, T]: the logarithm of each row's softmax sum, without a gradient.</returns>
    public static (Tensor Output, Tensor LogSum) Of(Tensor q, Tensor k, Tensor v, TokenSelection selection) =>
        OperatorCall.To(s_attention).Add(q).Add(k).Add(v).Add(selection.Index).Add(selection.Count).Two();
}
