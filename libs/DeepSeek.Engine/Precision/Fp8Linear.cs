using DeepSeek.Engine.Autograd;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// x·Wᵀ + b with all three products in FP8: weights and activations in E4M3, gradients in E5M2 (Micikevicius et al., arXiv 2209.05433,
/// section 3). Products accumulate in float32; the bias and its gradient stay as they are. The codes are kept for the backward pass: a
/// quarter of float32's memory.
/// </summary>
internal sealed class Fp8Linear(int history, int margin) : Function, IDisposable
{
    private readonly Fp8Scale _input = new(Fp8Format.E4M3, history, margin);
    private readonly Fp8Scale _weight = new(Fp8Format.E4M3, history, margin);
    private readonly Fp8Scale _gradient = new(Fp8Format.E5M2, history, margin);

    public void Dispose()
    {
        _input.Dispose();
        _weight.Dispose();
        _gradient.Dispose();
    }

    /// <summary>x [.., in], W [out, in], b [out] or none.</summary>
    protected override Tensor Forward(FunctionContext context, ReadOnlySpan<Tensor> inputs)
    {
        var x = inputs[0];
        var a = _input.Encode(x.Reshape(-1, x.Size(-1)));
        var w = _weight.Encode(inputs[1]);
        foreach (var saved in (ReadOnlySpan<Tensor>)[a.Codes, a.Scale, w.Codes, w.Scale])
        {
            context.Save(saved);
        }
        var y = Fp8.Product(a, w).To(x.Dtype);
        var outputs = inputs[1].Size(0);
        if (inputs.Length > 2 && !inputs[2].IsNone)
        {
            y += inputs[2].To(x.Dtype);
        }
        return y.Reshape([.. x.Shape()[..^1], outputs]); // [.., out]
    }

    /// <inheritdoc/>
    protected override void Backward(FunctionContext context, Tensor gradient, Span<Tensor> gradients)
    {
        var a = new Fp8Tensor(context.Saved(0), context.Saved(1), Fp8Format.E4M3);
        var w = new Fp8Tensor(context.Saved(2), context.Saved(3), Fp8Format.E4M3);
        var flat = gradient.Reshape(-1, gradient.Size(-1)); // [M, out]
        var g = _gradient.Encode(flat);
        gradients[0] = Fp8.Product(g, w.Transposed()).To(gradient.Dtype).Reshape([.. gradient.Shape()[..^1], w.Codes.Size(1)]);
        gradients[1] = Fp8.Product(g.Transposed(), a.Transposed()).To(Dtype.Float32); // [out, in]
        if (gradients.Length > 2)
        {
            gradients[2] = flat.To(Dtype.Float32).Sum(0);
        }
    }
}
