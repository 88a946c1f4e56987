using Onnx;

namespace DeepSeek.Onnx.Optimization;

internal static class ConstantFolding
{
    // A constant that a small node would unfold, such as a filled tensor, stays a node beyond this many bytes more than its inputs.
    private const long MaxGrowth = 1 << 20;

    internal static int Apply(GraphEditor graph)
    {
        var folded = 0;
        foreach (var node in graph.Nodes)
        {
            if (node.Domain.Length > 0 || node.Output.Count != 1 || graph.IsPinned(node.Output[0]) || node.Attribute.Any(a => a.G is not null))
            {
                continue;
            }
            if (node.OpType == "Constant" && node.Attribute("value")?.T is { } held)
            {
                Put(graph, node, ConstantTensor.Of(held));
                folded++;
                continue;
            }
            if (node.Input.Count == 0 || node.Input.Any(i => i.Length > 0 && graph.Constant(i) is null))
            {
                continue;
            }
            var inputs = node.Input.Select(i => i.Length == 0 ? null : ConstantTensor.Of(graph.Constant(i)!)).ToArray();
            if (inputs.All(i => i is null || i.Supported) && ConstantEvaluator.Run(node, inputs, MaxGrowth + inputs.Sum(i => i?.Data.Length ?? 0L)) is { } result)
            {
                Put(graph, node, result);
                folded++;
            }
        }
        return folded;
    }

    private static void Put(GraphEditor graph, NodeProto node, ConstantTensor value)
    {
        // The weight's own name stays recognisable: a transposed weight is called as the weight.
        var hint = node.Input.Count > 0 ? node.Input[0] + "/" + node.OpType.ToLowerInvariant() : node.Output[0];
        graph.Redirect(node.Output[0], graph.Add(value.ToProto(hint)));
        graph.Remove(node);
    }
}
