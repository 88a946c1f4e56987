using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>The cross entropy of a language model's head without its logits.</summary>
public static class HeadLoss
{
    private static readonly Operator s_headLoss = new("deepseek::head_loss");

    /// <summary>
    /// Mean cross entropy of x·Wᵀ, x [rows, width], W [classes, width], against int64 targets [rows]; rows with a negative target do
    /// not count. Logits are made for <paramref name="chunk"/> rows at a time and turned into both gradients at once (after Hsu et
    /// al., "Liger kernel", arXiv 2410.10989, section 3.2). The gradients are made in the forward pass, so differentiate it once.
    /// </summary>
    /// <returns>One float32 (float64 for float64 inputs).</returns>
    public static Tensor Of(Tensor x, Tensor weight, Tensor targets, int chunk = 16384) =>
        OperatorCall.To(s_headLoss).Add(x).Add(weight).Add(targets).Add((long)chunk).One();
}
