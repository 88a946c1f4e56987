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

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.Linear(x, Weight.Tensor, Bias?.Tensor ?? default); // [N, outputs]
}
