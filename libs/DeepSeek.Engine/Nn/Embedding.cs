using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Rows of a learned table by int64 index: [..] → [.., width].</summary>
public sealed class Embedding : Module
{
    private readonly int _entries;
    private readonly int _width;
    private readonly TensorHandle _weight;

    /// <summary>Draws the table from the standard normal distribution.</summary>
    public Embedding(int entries, int width)
    {
        (_entries, _width) = (entries, width);
        _weight = Parameter("weight", Initialize.Normal(entries, width));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x) => Functional.Embedding(_weight.Tensor, x); // [.., width]

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) =>
        graph.Node("Gather", [graph.Initializer(OnnxTensors.Of("table", _weight.Span<float>(), _entries, _width)), input], OnnxAttribute.Of("axis", 0));
}
