using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>((x · (1 + f)) · ½), with f = erf(x/√2) or tanh(√(2/π)·(x + 0.044715·x³)), as one node.</summary>
internal static class GeluFusion
{
    private const double Tolerance = 1e-6;

    internal static int Apply(GraphEditor graph) => graph.Editable("Mul").Count(n => Fuse(graph, n));

    private static bool Fuse(GraphEditor graph, NodeProto last)
    {
        // The factors may come in any order: ½ with either of the other two.
        if (Factor(graph, last, 0.5) is not { } product || graph.Producer(product, "Mul") is not { } outer)
        {
            return false;
        }
        for (var i = 0; i < 2; i++)
        {
            var (x, share) = (outer.Input[i], outer.Input[1 - i]);
            if (graph.Producer(share, "Add") is { } sum && Factor(graph, sum, 1) is { } inner)
            {
                var exact = graph.Producer(inner, "Erf") is { } erf && IsScaled(graph, erf.Input[0], x, 1 / Math.Sqrt(2));
                var approximate = graph.Producer(inner, "Tanh") is { } tanh && IsCubic(graph, tanh.Input[0], x);
                if (exact || approximate)
                {
                    Replace(graph, last, x, approximate);
                    return true;
                }
            }
        }
        return false;
    }

    private static void Replace(GraphEditor graph, NodeProto last, string x, bool approximate)
    {
        if (graph.Model.Opset() >= 20)
        {
            graph.Become(last, "Gelu", "", [x], OnnxAttribute.Of("approximate", approximate ? "tanh" : "none"));
        }
        else
        {
            graph.Import("com.microsoft", 1);
            graph.Become(last, approximate ? "FastGelu" : "Gelu", "com.microsoft", [x]);
        }
    }

    /// <summary>The other operand of a node that has this number as one.</summary>
    private static string? Factor(GraphEditor graph, NodeProto node, double number)
    {
        for (var i = 0; i < node.Input.Count && node.Input.Count == 2; i++)
        {
            if (graph.Number(node.Input[i]) is { } value && Math.Abs(value - number) <= Tolerance * number)
            {
                return node.Input[1 - i];
            }
        }
        return null;
    }

    /// <summary>Whether a value is x times a factor.</summary>
    private static bool IsScaled(GraphEditor graph, string value, string x, double factor) =>
        (graph.Producer(value, "Mul") is { } product && Factor(graph, product, factor) == x)
        || (graph.Producer(value, "Div") is { } quotient && quotient.Input[0] == x && graph.Number(quotient.Input[1]) is { } divisor && Math.Abs(divisor * factor - 1) <= Tolerance);

    /// <summary>Whether a value is √(2/π)·(x + 0.044715·x³).</summary>
    private static bool IsCubic(GraphEditor graph, string value, string x) =>
        graph.Producer(value, "Mul") is { } scaled && Factor(graph, scaled, Math.Sqrt(2 / Math.PI)) is { } inner
        && graph.Producer(inner, "Add") is { } sum && sum.Input.Contains(x)
        && graph.Producer(sum.Input[sum.Input[0] == x ? 1 : 0], "Mul") is { } term && Factor(graph, term, 0.044715) is { } cube
        && graph.Producer(cube, "Pow") is { } power && power.Input[0] == x && graph.Number(power.Input[1]) == 3;
}
