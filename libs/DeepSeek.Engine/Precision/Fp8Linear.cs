using DeepSeek.Engine.Autograd;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// x·Wᵀ + b with all three products in FP8: weights and activations in E4M3, gradients in E5M2 (Micikevicius et al., arXiv 2209.05433,
/// section 3). Products accumulate in float32; the bias and its gradient stay as they are. The turned codes are kept for the backward
/// pass: a quarter of float32's memory.
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

    /// <summary>x [.., in], W [out, in], b [out] or none; the result has x's type.</summary>
    protected override Tensor Forward(FunctionContext context, ReadOnlySpan<Tensor> inputs)
    {
        var (x, weight, bias) = (inputs[0], inputs[1], inputs.Length > 2 ? inputs[2] : default);
        var a = _input.Encode(x.Reshape(-1, x.Size(-1)));
        var w = _weight.Encode(weight);
        // The backward pass multiplies with both of them turned.
        foreach (var saved in (ReadOnlySpan<Tensor>)[a.Turned, a.Scale, a.Inverse, w.Turned, w.Scale, w.Inverse, weight])
        {
            context.Save(saved);
        }
        if (!bias.IsNone)
        {
            context.Save(bias);
        }
        return Fp8.Product(a, w, bias, x.Dtype, fast: true).Reshape([.. x.Shape()[..^1], weight.Size(0)]); // [.., out]
    }

    /// <inheritdoc/>
    protected override void Backward(FunctionContext context, Tensor gradient, Span<Tensor> gradients)
    {
        var a = new Fp8Tensor(context.Saved(0), default, context.Saved(1), context.Saved(2), Fp8Format.E4M3); // [in, M]
        var w = new Fp8Tensor(context.Saved(3), default, context.Saved(4), context.Saved(5), Fp8Format.E4M3); // [in, out]
        var flat = gradient.Reshape(-1, gradient.Size(-1)); // [M, out]
        var g = _gradient.Encode(flat);
        gradients[0] = Fp8.Product(g, w, default, gradient.Dtype, fast: false).Reshape([.. gradient.Shape()[..^1], w.Codes.Size(0)]);
        gradients[1] = Fp8.Product(g.Transposed(), a, default, context.Saved(6).Dtype, fast: false); // [out, in]
        if (gradients.Length > 2)
        {
            gradients[2] = flat.To(context.Saved(7).Dtype).Sum(0);
        }
    }
}
