using DeepSeek.Engine.Export;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Kernels;

/// <summary>Activations with what surrounds them in one pass, forward and backward. float32, bfloat16 or float16.</summary>
public static class FusedActivations
{
    private static readonly Operator s_biasGelu = new("deepseek::bias_gelu");
    private static readonly Operator s_swiGlu = new("deepseek::swiglu");

    /// <summary>GELU(x + bias) (Hendrycks and Gimpel, arXiv 1606.08415): x [.., columns], bias [columns] or none.</summary>
    /// <param name="x">[.., columns].</param>
    /// <param name="bias">[columns], or none.</param>
    /// <param name="byTanh">The tanh form, as in GPT-2; false: the normal distribution itself.</param>
    public static Tensor BiasGelu(Tensor x, Tensor bias = default, bool byTanh = false) => OperatorCall.To(s_biasGelu).Add(x).Add(bias).Add(byTanh).One();

    /// <summary><see cref="SwiGlu"/> where it suits, else by plain operators: for exports and float64.</summary>
    public static Tensor Gated(Tensor x, Tensor gate)
    {
        if (FusedNorm.Computes(x.Dtype) && gate.Dtype == x.Dtype && !OperatorTrace.Recording)
        {
            return SwiGlu(x, gate);
        }
        using var scope = TensorScope.Open();
        return scope.Return(x.Silu() * gate);
    }

    /// <summary>x · sigmoid(x) · gate (Shazeer, arXiv 2002.05202), of equal shapes and types.</summary>
    public static Tensor SwiGlu(Tensor x, Tensor gate) => OperatorCall.To(s_swiGlu).Add(x).Add(gate).One();
}
