using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Rows of a learned table by int64 index: [..] → [.., width].</summary>
public sealed class Embedding : Module
{
    private readonly int _entries;
    private readonly int _width;
    private readonly int _padding;

    /// <summary>Draws the table from the normal distribution.</summary>
    /// <param name="padding">Row that stands for no token: it gets no gradient. -1 for none.</param>
    public Embedding(int entries, int width, double deviation = 1, int padding = -1)
    {
        (_entries, _width, _padding) = (entries, width, padding);
        Weight = Parameter("weight", Initialize.Normal(deviation, entries, width));
    }

    /// <summary>[entries, width].</summary>
    public TensorHandle Weight { get; }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.Embedding(Weight.Tensor, x, _padding); // [.., width]

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) =>
        graph.Node("Gather", [graph.Initializer(OnnxTensors.Of("table", Weight.Span<float>(), _entries, _width)), input], OnnxAttribute.Of("axis", 0));
}
