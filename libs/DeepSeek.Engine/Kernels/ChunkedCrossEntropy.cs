using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>
/// Cross entropy of a linear layer's outputs without ever holding all of them: the logits of a chunk of rows exist at a time,
/// and become their gradient in place (the gradients are made in the forward pass, as in arXiv 2410.10989).
/// </summary>
public static class ChunkedCrossEntropy
{
    private static readonly Operator s_loss = new("deepseek::linear_cross_entropy");

    /// <summary>Mean over the rows that count of −log softmax(hidden · weightᵀ)[target]: a float32 scalar; NaN where no row counts.</summary>
    /// <param name="hidden">[rows, features], float32, bfloat16 or float16.</param>
    /// <param name="weight">[classes, features]; of another type it is converted to hidden's.</param>
    /// <param name="target">[rows], int64; a class outside [0, classes) other than the ignored gives NaN.</param>
    /// <param name="ignored">Rows with this target do not count.</param>
    /// <param name="chunkRows">Rows at a time; 0: about 64 MB of float32 logits.</param>
    public static Tensor Loss(Tensor hidden, Tensor weight, Tensor target, long ignored = -100, long chunkRows = 0) =>
        OperatorCall.To(s_loss).Add(hidden).Add(weight).Add(target).Add(ignored).Add(chunkRows).One();
}
