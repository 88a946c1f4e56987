using DeepSeek.Engine.Export;
using DeepSeek.Engine.Memory;

namespace DeepSeek.Engine.Tensors;

public static partial class Functional
{
    /// <summary>
    /// softmax(q·kᵀ/√D + mask)·v (Vaswani et al., arXiv 1706.03762, eq. 1): q [N, H, T, D], k and v [N, K, S, D], where K divides H
    /// (grouped queries, arXiv 2305.13245). One fused operator from libtorch 2.5 on, plain products before.
    /// </summary>
    /// <param name="mask">Added to the scores; broadcasts to [N, H, T, S].</param>
    /// <param name="causal">Place t sees places up to t only; not together with a mask.</param>
    /// <param name="dropout">Share of the weights dropped.</param>
    public static Tensor Attention(Tensor query, Tensor key, Tensor value, Tensor mask = default, bool causal = false, double dropout = 0)
    {
        if (causal && !mask.IsNone)
        {
            throw new ArgumentException("A causal attention takes no mask; make the mask causal itself.", nameof(mask));
        }
        if (dropout > 0)
        {
            Checkpoint.RefuseRandom("Attention with dropout");
        }
        var grouped = query.Size(1) != key.Size(1);
        if (LibtorchFeatures.FusedAttention && !OperatorTrace.Recording)
        {
            return OperatorCall.To(Operators.Attention).Add(query).Add(key).Add(value).Add(mask).Add(dropout).Add(causal).None().Add(grouped).One();
        }
        using var scope = TensorScope.Open();
        if (grouped)
        {
            var times = query.Size(1) / key.Size(1);
            (key, value) = (RepeatHeads(key, times), RepeatHeads(value, times));
        }
        var scores = (query * (1 / Math.Sqrt(query.Size(-1)))).MatMul(key.Transpose(-2, -1)); // [N, H, T, S]
        if (causal)
        {
            scores += CausalMask(query, query.Size(-2), key.Size(-2));
        }
        else if (!mask.IsNone)
        {
            scores += mask;
        }
        var weights = scores.Softmax(-1);
        return scope.Return((dropout > 0 ? Dropout(weights, dropout, true) : weights).MatMul(value)); // [N, H, T, D]
    }

    /// <summary>[T, S] of the first tensor's type and place: 0 up to the diagonal, -∞ above it.</summary>
    public static Tensor CausalMask(Tensor like, long rows, long columns) => like.NewFull(double.NegativeInfinity, rows, columns).Triu(1);

    /// <summary>Each head so many times in a row: [N, K, S, D] → [N, K·times, S, D].</summary>
    private static Tensor RepeatHeads(Tensor x, long times)
    {
        var (n, heads, length, width) = (x.Size(0), x.Size(1), x.Size(2), x.Size(3));
        return x.Unsqueeze(2).Expand(n, heads, times, length, width).Reshape(n, heads * times, length, width);
    }
}
