using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>Exact selection of the greatest or least elements of each row.</summary>
public static class TopK
{
    private static readonly Operator s_topk = new("deepseek::topk");

    /// <summary>
    /// The k greatest (or least) elements along the last dimension, in order of value; equal values in order of index, NaN as
    /// greater than every number, −0 equal to +0. The same input gives the same output. The values carry x's gradient.
    /// </summary>
    /// <param name="x">[.., columns], float32, bfloat16 or float16, fewer than 2³¹ columns.</param>
    /// <param name="k">0 to columns; at most 2048 on CUDA.</param>
    /// <param name="largest">The greatest; false: the least.</param>
    /// <returns>Values [.., k] of x's type and indices [.., k], int64.</returns>
    public static (Tensor Values, Tensor Indices) Select(Tensor x, long k, bool largest = true) =>
        OperatorCall.To(s_topk).Add(x).Add(k).Add(largest).Two();
}
