using Onnx;

namespace DeepSeek.Onnx;

/// <summary>Order of nodes, and parts of graphs.</summary>
public static class GraphOrder
{
    /// <summary>Execution order; of several nodes that could run, the one that came first in the list does.</summary>
    public static IReadOnlyList<NodeProto> Sort(IReadOnlyList<NodeProto> nodes)
    {
        var made = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var output in nodes[i].Output.Where(o => o.Length > 0))
                made[output] = i;
        }
        var waits = new int[nodes.Count];
        var next = new List<int>[nodes.Count];
        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var producer in nodes[i].Reads().Distinct().Where(made.ContainsKey).Select(r => made[r]).Distinct().Where(p => p != i))
            {
                (next[producer] ??= []).Add(i);
                waits[i]++;
            }
        }
        var ready = new PriorityQueue<int, int>(Enumerable.Range(0, nodes.Count).Where(i => waits[i] == 0).Select(i => (i, i)));
        var sorted = new List<NodeProto>(nodes.Count);
        while (ready.TryDequeue(out var i, out _))
        {
            sorted.Add(nodes[i]);
            foreach (var follower in next[i] ?? [])
            {
                if (--waits[follower] == 0)
                    ready.Enqueue(follower, follower);
            }
        }
        return sorted.Count == nodes.Count ? sorted : throw new InvalidOperationException("The edited graph has a cycle.");
    }

    /// <summary>The part of a model that these values need, with them as its outputs.</summary>
    public static ModelProto Extract(ModelProto model, IReadOnlyCollection<string> values)
    {
        var needed = new HashSet<string>(values, StringComparer.Ordinal);
        var nodes = new List<NodeProto>();
        foreach (var node in model.Graph.Node.Reverse())
        {
            if (!node.Output.Any(needed.Contains))
                continue;
            nodes.Add(node);
            needed.UnionWith(node.Reads());
        }
        nodes.Reverse();
        var part = new ModelProto { IrVersion = model.IrVersion, OpsetImport = { model.OpsetImport }, Functions = { model.Functions }, Graph = new GraphProto { Name = model.Graph.Name } };
        part.Graph.Input.Add(model.Graph.Input.Where(i => needed.Contains(i.Name)));
        part.Graph.Initializer.Add(model.Graph.Initializer.Where(t => needed.Contains(t.Name)));
        part.Graph.Node.Add(nodes);
        part.Graph.Output.Add(values.Select(v => new ValueInfoProto { Name = v }));
        return part;
    }

    /// <summary>The graphs in a node's attributes: branches of If, the body of Loop.</summary>
    public static IEnumerable<GraphProto> InnerGraphs(this NodeProto node) =>
        node.Attribute.SelectMany(a => a.G is null ? a.Graphs : a.Graphs.Append(a.G));

    /// <summary>Everything a node reads, in its inner graphs too.</summary>
    public static IEnumerable<string> Reads(this NodeProto node) =>
        node.Input.Where(i => i.Length > 0).Concat(node.InnerGraphs().SelectMany(g => g.Node.SelectMany(n => n.Reads()).Concat(g.Output.Select(o => o.Name))));
}
