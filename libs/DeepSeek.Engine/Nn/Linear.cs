using DeepSeek.Engine.Export;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>x·Wᵀ + b: [N, inputs] → [N, outputs].</summary>
public sealed class Linear : Module
{
    /// <summary>Draws initial weights.</summary>
    public Linear(int inputs, int outputs, bool bias = true)
    {
        Weight = Parameter("weight", Initialize.FanIn(inputs, outputs, inputs));
        Bias = bias ? Parameter("bias", Initialize.FanIn(inputs, outputs)) : null;
    }

    /// <summary>[outputs, inputs].</summary>
    public TensorHandle Weight { get; }

    /// <summary>[outputs].</summary>
    public TensorHandle? Bias { get; }

    /// <summary>
    /// GELU(x·Wᵀ + b), exact or in its tanh form: [N, inputs] → [N, outputs]. Bias and activation are one pass over memory, and one back, unless a hook
    /// looks between, FP8 is asked for, or an export wants plain operators.
    /// </summary>
    public Tensor ForwardGelu(Tensor x, bool byTanh = false)
    {
        using var scope = TensorScope.Open();
        if (Bias is null || IsObserved || Recomputes || Products is not null || LinearMode.Current is not null || OperatorTrace.Recording || !FusedNorm.Computes(x.Dtype))
        {
            var plain = Forward(x);
            return scope.Return(byTanh ? plain.GeluTanh() : plain.Gelu());
        }
        using var range = EnterTrace();
        return scope.Return(FusedActivations.BiasGelu(Functional.Linear(x, Weight.Tensor), Bias.Tensor, byTanh));
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.Linear(x, Weight.Tensor, Bias?.Tensor ?? default); // [N, outputs]
}
