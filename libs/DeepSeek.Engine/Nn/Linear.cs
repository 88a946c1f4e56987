using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>x·Wᵀ + b: [N, inputs] → [N, outputs].</summary>
public sealed class Linear : Module
{
    private readonly int _inputs;
    private readonly int _outputs;
    private readonly TensorHandle _weight;
    private readonly TensorHandle? _bias;

    /// <summary>Draws initial weights.</summary>
    public Linear(int inputs, int outputs, bool bias = true)
    {
        _inputs = inputs;
        _outputs = outputs;
        _weight = Parameter("weight", Initialize.FanIn(inputs, outputs, inputs));
        _bias = bias ? Parameter("bias", Initialize.FanIn(inputs, outputs)) : null;
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Functional.Linear(x, _weight.Tensor, _bias?.Tensor ?? default); // [N, outputs]

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => Export(graph, input, null);

    /// <summary>Writes this layer with the normalisation that follows it worked into its weights.</summary>
    internal string Export(OnnxGraph graph, string input, BatchNorm? following)
    {
        var weight = _weight.Span<float>().ToArray();
        var bias = _bias is null ? new float[_outputs] : _bias.Span<float>().ToArray();
        following?.FoldInto(weight, bias);
        return graph.Node("Gemm", [input, graph.Initializer(OnnxTensors.Of("weight", weight, _outputs, _inputs)), graph.Initializer(OnnxTensors.Of("bias", bias, _outputs))],
            OnnxAttribute.Of("transB", 1));
    }
}
