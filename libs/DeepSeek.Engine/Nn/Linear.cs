using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>x·Wᵀ + b: [N, inputs] → [N, outputs].</summary>
public sealed class Linear : Module
{
    private readonly int _inputs;
    private readonly int _outputs;

    /// <summary>Draws initial weights.</summary>
    public Linear(int inputs, int outputs, bool bias = true)
    {
        _inputs = inputs;
        _outputs = outputs;
        Weight = Parameter("weight", Initialize.FanIn(inputs, outputs, inputs));
        Bias = bias ? Parameter("bias", Initialize.FanIn(inputs, outputs)) : null;
    }

    /// <summary>[outputs, inputs].</summary>
    public TensorHandle Weight { get; }

    /// <summary>[outputs].</summary>
    public TensorHandle? Bias { get; }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.Linear(x, Weight.Tensor, Bias?.Tensor ?? default); // [N, outputs]

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => Export(graph, input, null);

    /// <summary>Writes this layer with the normalisation that follows it worked into its weights.</summary>
    internal string Export(OnnxGraph graph, string input, BatchNorm? following)
    {
        var weight = Weight.Span<float>().ToArray();
        var bias = Bias is null ? new float[_outputs] : Bias.Span<float>().ToArray();
        following?.FoldInto(weight, bias);
        return graph.Node("Gemm", [input, graph.Initializer(OnnxTensors.Of("weight", weight, _outputs, _inputs)), graph.Initializer(OnnxTensors.Of("bias", bias, _outputs))],
            OnnxAttribute.Of("transB", 1));
    }
}
