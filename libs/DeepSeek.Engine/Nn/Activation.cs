using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Element-wise non-linearities.</summary>
public enum ActivationKind
{
    /// <summary>max(0, x).</summary>
    Relu = 1,
    /// <summary>x·Φ(x), exact.</summary>
    Gelu = 2,
    /// <summary>x·σ(x).</summary>
    Silu = 3,
    /// <summary>Hyperbolic tangent.</summary>
    Tanh = 4,
    /// <summary>Logistic function.</summary>
    Sigmoid = 5,
    /// <summary>x/2·(1 + tanh(√(2/π)(x + 0.044715 x³))), Hendrycks &amp; Gimpel (arXiv 1606.08415).</summary>
    GeluTanh = 6,
}

/// <summary>An element-wise non-linearity.</summary>
public sealed class Activation(ActivationKind kind) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => kind switch
    {
        ActivationKind.Relu => x.Relu(),
        ActivationKind.Gelu => x.Gelu(),
        ActivationKind.Silu => x.Silu(),
        ActivationKind.Tanh => x.Tanh(),
        ActivationKind.Sigmoid => x.Sigmoid(),
        ActivationKind.GeluTanh => x.GeluTanh(),
        _ => throw new InvalidOperationException($"Unknown activation {kind}."),
    };

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => kind switch
    {
        ActivationKind.Relu => graph.Node("Relu", [input]),
        ActivationKind.Tanh => graph.Node("Tanh", [input]),
        ActivationKind.Sigmoid => graph.Node("Sigmoid", [input]),
        ActivationKind.Silu => graph.Node("Mul", [input, graph.Node("Sigmoid", [input])]),
        ActivationKind.Gelu => ExportGelu(graph, input),
        _ => throw new InvalidOperationException($"Unknown activation {kind}."),
    };

    // Gelu is an operator of its own only from opset 20 on: x/2 · (1 + erf(x/√2)).
    private static string ExportGelu(OnnxGraph graph, string input)
    {
        var scaled = graph.Node("Div", [input, graph.Scalar("sqrt2", MathF.Sqrt(2))]);
        var probability = graph.Node("Add", [graph.Node("Erf", [scaled]), graph.Scalar("one", 1f)]);
        return graph.Node("Mul", [graph.Node("Mul", [input, probability]), graph.Scalar("half", 0.5f)]);
    }
}
