using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Convolution with equal kernel, stride, padding and dilation in all of its dimensions, named as in PyTorch.</summary>
public abstract class Convolution : Module
{
    private readonly int _dimensions;
    private readonly int _stride;
    private readonly int _padding;
    private readonly int _dilation;
    private readonly int _groups;

    /// <summary>Draws initial weights; <paramref name="groups"/> divides inputs and outputs.</summary>
    private protected Convolution(int dimensions, int inputs, int outputs, int kernel, int stride, int padding, int dilation, int groups, bool bias)
    {
        (_dimensions, _stride, _padding, _dilation, _groups) = (dimensions, stride, padding, dilation, groups);
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

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => Export(graph, input, null);

    /// <summary>Writes this layer with the normalisation that follows it worked into its weights.</summary>
    internal string Export(OnnxGraph graph, string input, BatchNorm? following)
    {
        var weight = Weight.Span<float>().ToArray();
        var shape = Weight.Tensor.Shape();
        var bias = Bias is null ? new float[shape[0]] : Bias.Span<float>().ToArray();
        following?.FoldInto(weight, bias);
        return graph.Node("Conv",
            [input, graph.Initializer(OnnxTensors.Of("weight", weight, shape)), graph.Initializer(OnnxTensors.Of("bias", bias, shape[0]))],
            OnnxAttribute.Of("kernel_shape", shape[2..]),
            OnnxAttribute.Of("strides", Enumerable.Repeat((long)_stride, _dimensions)),
            OnnxAttribute.Of("dilations", Enumerable.Repeat((long)_dilation, _dimensions)),
            OnnxAttribute.Of("group", _groups),
            OnnxAttribute.Of("pads", Enumerable.Repeat((long)_padding, 2 * _dimensions)));
    }
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
