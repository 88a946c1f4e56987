using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Convolution with equal kernel, stride, padding and dilation in all of its dimensions, named as in PyTorch.</summary>
public abstract class Convolution : Module
{
    private readonly int _stride;
    private readonly int _padding;
    private readonly int _dilation;
    private readonly int _groups;

    /// <summary>Draws initial weights; <paramref name="groups"/> divides inputs and outputs.</summary>
    private protected Convolution(int dimensions, int inputs, int outputs, int kernel, int stride, int padding, int dilation, int groups, bool bias)
    {
        (_stride, _padding, _dilation, _groups) = (stride, padding, dilation, groups);
        long[] sizes = [outputs, inputs / groups, .. Enumerable.Repeat((long)kernel, dimensions)];
        var fanIn = sizes.Skip(1).Aggregate(1L, (a, b) => a * b);
        Weight = Parameter("weight", Initialize.FanIn(fanIn, sizes));
        Bias = bias ? Parameter("bias", Initialize.FanIn(fanIn, outputs)) : null;
    }

    /// <summary>[outputs, inputs/groups, kernel, ..].</summary>
    public TensorHandle Weight { get; }

    /// <summary>[outputs].</summary>
    public TensorHandle? Bias { get; }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) =>
        Functional.Convolution(x, Weight.Tensor, Bias?.Tensor ?? default, _stride, _padding, _dilation, _groups); // [N, outputs, ..]
}

/// <summary>[N, inputs, L] → [N, outputs, L'].</summary>
public sealed class Conv1d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, bool bias = true, int dilation = 1, int groups = 1)
    : Convolution(1, inputs, outputs, kernel, stride, padding, dilation, groups, bias);

/// <summary>[N, inputs, H, W] → [N, outputs, H', W'].</summary>
public sealed class Conv2d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, bool bias = true, int dilation = 1, int groups = 1)
    : Convolution(2, inputs, outputs, kernel, stride, padding, dilation, groups, bias);

/// <summary>[N, inputs, D, H, W] → [N, outputs, D', H', W'].</summary>
public sealed class Conv3d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, bool bias = true, int dilation = 1, int groups = 1)
    : Convolution(3, inputs, outputs, kernel, stride, padding, dilation, groups, bias);
