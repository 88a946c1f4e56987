namespace DeepSeek.Onnx.Optimization;

internal static class DeadCode
{
    internal static int Apply(GraphEditor graph)
    {
        var removed = 0;
        // From the back, so that what only a removed node read goes in the same walk.
        foreach (var node in graph.Nodes.Reverse())
        {
            if (node.Output.All(o => o.Length == 0 || (!graph.IsPinned(o) && graph.Readers(o).Count == 0)))
            {
                graph.Remove(node);
                removed++;
            }
        }
        foreach (var constant in graph.Graph.Initializer.Where(c => !graph.IsPinned(c.Name) && graph.Readers(c.Name).Count == 0).ToArray())
        {
            graph.Remove(constant);
            removed++;
        }
        return removed;
    }
}
