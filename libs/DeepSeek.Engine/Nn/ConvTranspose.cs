using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Transposed convolution with equal kernel, stride and padding in all of its dimensions.</summary>
public abstract class ConvTranspose : Module
{
    private readonly int _stride;
    private readonly int _padding;
    private readonly int _outputPadding;
    private readonly TensorHandle _weight;
    private readonly TensorHandle? _bias;

    private protected ConvTranspose(int dimensions, int inputs, int outputs, int kernel, int stride, int padding, int outputPadding, bool bias)
    {
        (_stride, _padding, _outputPadding) = (stride, padding, outputPadding);
        long[] sizes = [inputs, outputs, .. Enumerable.Repeat((long)kernel, dimensions)];
        // As PyTorch, which counts the second dimension as inputs here too.
        var fanIn = sizes.Skip(1).Aggregate(1L, (a, b) => a * b);
        _weight = Parameter("weight", Initialize.FanIn(fanIn, sizes));
        _bias = bias ? Parameter("bias", Initialize.FanIn(fanIn, outputs)) : null;
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) =>
        Functional.ConvolutionTransposed(x, _weight.Tensor, _bias?.Tensor ?? default, _stride, _padding, _outputPadding); // [N, outputs, ..]
}

/// <summary>[N, inputs, L] → [N, outputs, (L-1)·stride - 2·padding + kernel + outputPadding].</summary>
public sealed class ConvTranspose1d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, int outputPadding = 0, bool bias = true)
    : ConvTranspose(1, inputs, outputs, kernel, stride, padding, outputPadding, bias);

/// <summary>[N, inputs, H, W] → [N, outputs, H', W'], sizes as in <see cref="ConvTranspose1d"/>.</summary>
public sealed class ConvTranspose2d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, int outputPadding = 0, bool bias = true)
    : ConvTranspose(2, inputs, outputs, kernel, stride, padding, outputPadding, bias);

/// <summary>[N, inputs, D, H, W] → [N, outputs, D', H', W'], sizes as in <see cref="ConvTranspose1d"/>.</summary>
public sealed class ConvTranspose3d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, int outputPadding = 0, bool bias = true)
    : ConvTranspose(3, inputs, outputs, kernel, stride, padding, outputPadding, bias);
