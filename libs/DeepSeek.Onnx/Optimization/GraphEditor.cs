using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>A graph with who makes and who reads each value, kept up to date while passes rewrite it. Inner graphs stay as they are.</summary>
public sealed class GraphEditor
{
    private readonly Dictionary<string, NodeProto> _producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<NodeProto>> _readers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorProto> _constants = new(StringComparer.Ordinal);
    private readonly HashSet<string> _pinned = new(StringComparer.Ordinal);
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    internal GraphEditor(ModelProto model)
    {
        Model = model;
        foreach (var tensor in Graph.Initializer)
        {
            _constants[tensor.Name] = tensor;
            _names.Add(tensor.Name);
        }
        foreach (var node in Graph.Node)
        {
            Link(node);
        }
        // What leaves the graph or is read from inside an inner graph must keep its name.
        _pinned.UnionWith(Graph.Output.Select(o => o.Name));
        _pinned.UnionWith(Graph.Node.SelectMany(InnerReads));
        _pinned.UnionWith(Graph.QuantizationAnnotation.Select(a => a.TensorName));
        _names.UnionWith(Graph.Input.Select(i => i.Name));
    }

    internal ModelProto Model { get; }

    internal GraphProto Graph => Model.Graph;

    /// <summary>A copy to walk over while the graph changes.</summary>
    internal IReadOnlyList<NodeProto> Nodes => [.. Graph.Node];

    internal NodeProto? Producer(string value) => _producers.GetValueOrDefault(value);

    /// <summary>The node that makes this value, if it is of a type.</summary>
    internal NodeProto? Producer(string value, string opType) => Producer(value) is { } node && node.OpType == opType && node.Domain.Length == 0 ? node : null;

    internal IReadOnlyList<NodeProto> Readers(string value) => _readers.TryGetValue(value, out var readers) ? readers : [];

    /// <summary>The value's only reader, if it is of a type and nothing else needs the value.</summary>
    internal NodeProto? OnlyReader(string value, string opType) =>
        !IsPinned(value) && Readers(value) is [var reader] && reader.OpType == opType && reader.Domain.Length == 0 ? reader : null;

    internal bool IsPinned(string value) => _pinned.Contains(value);

    internal TensorProto? Constant(string value) => _constants.GetValueOrDefault(value);

    /// <summary>The one number that a constant holds.</summary>
    internal double? Number(string value) => Constant(value) is { } tensor && tensor.Count() == 1
        ? tensor.Type() switch { OnnxType.Float => tensor.Floats()[0], OnnxType.Double => tensor.Doubles()[0], OnnxType.Int64 => tensor.Longs()[0], _ => null }
        : null;

    internal long[]? Longs(string value) => Constant(value) is { } tensor && tensor.Type() == OnnxType.Int64 ? tensor.Longs() : null;

    /// <summary>Adds a constant under a new name.</summary>
    internal string Add(TensorProto tensor)
    {
        tensor.Name = Unique(tensor.Name.Length == 0 ? "constant" : tensor.Name);
        Graph.Initializer.Add(tensor);
        _constants[tensor.Name] = tensor;
        return tensor.Name;
    }

    /// <summary>Puts a node in front of another; returns its output.</summary>
    internal string Insert(NodeProto before, string opType, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes)
    {
        var node = new NodeProto { OpType = opType };
        foreach (var input in inputs)
        {
            node.Input.Add(input);
        }
        node.Output.Add(Unique(opType));
        node.Name = "fused/" + node.Output[0];
        node.Attribute.AddRange(attributes.ToArray());
        Graph.Node.Insert(Graph.Node.IndexOf(before), node);
        Link(node);
        return node.Output[0];
    }

    /// <summary>Turns a node into another with the same output.</summary>
    internal void Become(NodeProto node, string opType, string domain, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes)
    {
        Unlink(node);
        (node.OpType, node.Domain) = (opType, domain);
        node.Input.Clear();
        node.Input.AddRange(inputs.ToArray());
        node.Attribute.Clear();
        node.Attribute.AddRange(attributes.ToArray());
        Link(node);
    }

    internal void Remove(NodeProto node)
    {
        Graph.Node.Remove(node);
        Unlink(node);
    }

    internal void Remove(TensorProto constant)
    {
        Graph.Initializer.Remove(constant);
        _constants.Remove(constant.Name);
    }

    /// <summary>Lets every reader of one value read another.</summary>
    internal void Redirect(string from, string to)
    {
        foreach (var reader in Readers(from).ToArray())
        {
            for (var i = 0; i < reader.Input.Count; i++)
            {
                if (reader.Input[i] == from)
                {
                    SetInput(reader, i, to);
                }
            }
        }
    }

    internal void SetInput(NodeProto node, int index, string value)
    {
        if (_readers.TryGetValue(node.Input[index], out var readers))
        {
            readers.Remove(node);
        }
        node.Input[index] = value;
        ReadersOf(value).Add(node);
    }

    /// <summary>Gives a node's output another name, which nothing makes.</summary>
    internal void Rename(NodeProto node, string from, string to)
    {
        node.Output[node.Output.IndexOf(from)] = to;
        _producers.Remove(from);
        _producers[to] = node;
        Redirect(from, to);
    }

    /// <summary>Imports an operator domain that a pass writes nodes of.</summary>
    internal void Import(string domain, long version)
    {
        if (Model.OpsetImport.All(o => o.Domain != domain))
        {
            Model.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
        }
    }

    private string Unique(string hint)
    {
        var name = hint;
        for (var i = 1; !_names.Add(name); i++)
        {
            name = $"{hint}_{i}";
        }
        return name;
    }

    private void Link(NodeProto node)
    {
        foreach (var input in node.Input.Where(i => i.Length > 0))
        {
            ReadersOf(input).Add(node);
        }
        foreach (var output in node.Output.Where(o => o.Length > 0))
        {
            _producers[output] = node;
            _names.Add(output);
        }
    }

    private void Unlink(NodeProto node)
    {
        foreach (var input in node.Input)
        {
            if (_readers.TryGetValue(input, out var readers))
            {
                readers.Remove(node);
            }
        }
        foreach (var output in node.Output)
        {
            _producers.Remove(output);
        }
    }

    private List<NodeProto> ReadersOf(string value) => _readers.TryGetValue(value, out var readers) ? readers : _readers[value] = [];

    private static IEnumerable<string> InnerReads(NodeProto node) => node.Attribute.SelectMany(a => a.G is null ? a.Graphs : a.Graphs.Append(a.G))
        .SelectMany(g => g.Node.SelectMany(n => n.Input.Concat(InnerReads(n))).Concat(g.Output.Select(o => o.Name)));
}
