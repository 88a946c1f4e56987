using Onnx;

namespace DeepSeek.Onnx.Optimization;

internal static class Identities
{
    internal static int Apply(GraphEditor graph) => graph.Nodes.Count(node => Passes(graph, node) && Remove(graph, node) || Merge(graph, node));

    /// <summary>Whether the node's output is its first input.</summary>
    private static bool Passes(GraphEditor graph, NodeProto node) => node.Domain.Length == 0 && node.OpType switch
    {
        "Identity" => true,
        "Dropout" => node.Output.Count == 1 || node.Output[1].Length == 0,
        "Transpose" => node.Ints("perm") is { } order && order.Select((d, i) => d == i).All(same => same),
        "Concat" => node.Input.Count == 1,
        "Mul" or "Div" => graph.Number(node.Input[1]) == 1 && graph.Constant(node.Input[1])!.Dims.Count == 0,
        "Add" or "Sub" => graph.Number(node.Input[1]) == 0 && graph.Constant(node.Input[1])!.Dims.Count == 0,
        _ => false,
    };

    private static bool Remove(GraphEditor graph, NodeProto node)
    {
        var (input, output) = (node.Input[0], node.Output[0]);
        if (graph.Producer(output) != node)
        {
            return false;
        }
        if (!graph.IsPinned(output) && !IsNamed(node))
        {
            graph.Redirect(output, input);
            graph.Remove(node);
            return true;
        }
        // An output keeps its name: the node in front takes it over, if nobody needs the old one.
        if (graph.Producer(input) is not { } producer || graph.IsPinned(input))
        {
            return false;
        }
        graph.Remove(node);
        graph.Rename(producer, input, output);
        return true;
    }

    // Identity nodes give values names to find them by, such as logits.
    private static bool IsNamed(NodeProto node) => node.OpType == "Identity";

    /// <summary>Two transpositions or two reshapes in a row become one.</summary>
    private static bool Merge(GraphEditor graph, NodeProto node)
    {
        if (node.Domain.Length > 0 || graph.Producer(node.Output[0]) != node || graph.Producer(node.Input.FirstOrDefault() ?? "", node.OpType) is not { } first)
        {
            return false;
        }
        if (node.OpType == "Transpose" && node.Ints("perm") is { } outer && first.Ints("perm") is { } inner)
        {
            node.Attribute.Clear();
            node.Attribute.Add(OnnxAttribute.Of("perm", outer.Select(d => inner[d])));
            graph.SetInput(node, 0, first.Input[0]);
            return true;
        }
        // Zeros in the second shape refer to the first's result.
        if (node.OpType == "Reshape" && graph.Longs(node.Input[1]) is { } shape && !shape.Contains(0))
        {
            graph.SetInput(node, 0, first.Input[0]);
            return true;
        }
        return false;
    }
}
