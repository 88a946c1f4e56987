using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Convolution with a square kernel: [N, inputs, H, W] → [N, outputs, H', W'].</summary>
public sealed class Conv2d : Module
{
    private readonly int _inputs;
    private readonly int _outputs;
    private readonly int _kernel;
    private readonly int _stride;
    private readonly int _padding;
    private readonly TensorHandle _weight;
    private readonly TensorHandle? _bias;

    /// <summary>Draws initial weights.</summary>
    public Conv2d(int inputs, int outputs, int kernel, int stride = 1, int padding = 0, bool bias = true)
    {
        (_inputs, _outputs, _kernel, _stride, _padding) = (inputs, outputs, kernel, stride, padding);
        var fanIn = (long)inputs * kernel * kernel;
        _weight = Parameter("weight", Initialize.FanIn(fanIn, outputs, inputs, kernel, kernel));
        _bias = bias ? Parameter("bias", Initialize.FanIn(fanIn, outputs)) : null;
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Functional.Conv2d(x, _weight.Tensor, _bias?.Tensor ?? default, _stride, _padding); // [N, outputs, H', W']

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => Export(graph, input, null);

    /// <summary>Writes this layer with the normalisation that follows it worked into its weights.</summary>
    internal string Export(OnnxGraph graph, string input, BatchNorm? following)
    {
        var weight = _weight.Span<float>().ToArray();
        var bias = _bias is null ? new float[_outputs] : _bias.Span<float>().ToArray();
        following?.FoldInto(weight, bias);
        return graph.Node("Conv",
            [input, graph.Initializer(OnnxTensors.Of("weight", weight, _outputs, _inputs, _kernel, _kernel)), graph.Initializer(OnnxTensors.Of("bias", bias, _outputs))],
            OnnxAttribute.Of("kernel_shape", [(long)_kernel, _kernel]),
            OnnxAttribute.Of("strides", [(long)_stride, _stride]),
            OnnxAttribute.Of("pads", [(long)_padding, _padding, _padding, _padding]));
    }
}
