using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Normalisation over the last dimension (Ba et al., arXiv 1607.06450): [.., features] → [.., features].</summary>
public sealed class LayerNorm : Module
{
    private readonly int _features;
    private readonly double _epsilon;
    private readonly TensorHandle _weight;
    private readonly TensorHandle _bias;

    /// <summary>Starts without scale and shift.</summary>
    public LayerNorm(int features, double epsilon = 1e-5)
    {
        (_features, _epsilon) = (features, epsilon);
        _weight = Parameter("weight", TensorHandle.Filled(1, features));
        _bias = Parameter("bias", TensorHandle.Filled(0, features));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Functional.LayerNorm(x, _features, _weight.Tensor, _bias.Tensor, _epsilon);

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => graph.Node("LayerNormalization",
        [
            input,
            graph.Initializer(OnnxTensors.Of("scale", _weight.Span<float>(), _features)),
            graph.Initializer(OnnxTensors.Of("bias", _bias.Span<float>(), _features)),
        ],
        OnnxAttribute.Of("axis", -1), OnnxAttribute.Of("epsilon", (float)_epsilon));
}
