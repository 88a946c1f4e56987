using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Compression.Graphs;

/// <summary>
/// A model's main graph with an index of who makes and who reads each value. Edits keep the index true;
/// <see cref="Apply"/> writes nodes back in execution order without what nothing uses.
/// </summary>
public sealed class GraphEditor
{
    private readonly ModelProto _model;
    private readonly List<NodeProto> _nodes;
    private readonly OrderedDictionary<string, TensorProto> _constants = new(StringComparer.Ordinal);
    private readonly Dictionary<string, NodeProto> _producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<NodeProto>> _consumers = new(StringComparer.Ordinal);
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    /// <summary>Values that keep their names and their last reader: graph outputs and what inner graphs read.</summary>
    private readonly HashSet<string> _pinned = new(StringComparer.Ordinal);

    public GraphEditor(ModelProto model)
    {
        _model = model;
        _nodes = [.. model.Graph.Node];
        var inputs = model.Graph.Input.Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var tensor in model.Graph.Initializer)
        {
            // An initializer that is also an input is a default which callers may replace, not a constant.
            if (!inputs.Contains(tensor.Name))
                _constants[tensor.Name] = tensor;
            _names.Add(tensor.Name);
        }
        _names.UnionWith(inputs);
        _pinned.UnionWith(model.Graph.Output.Select(o => o.Name));
        foreach (var node in _nodes)
            Index(node);
    }

    public IReadOnlyList<NodeProto> Nodes => _nodes;

    public TensorProto? Constant(string name) => _constants.GetValueOrDefault(name);

    public NodeProto? Producer(string name) => _producers.GetValueOrDefault(name);

    public IReadOnlyList<NodeProto> Consumers(string name) => _consumers.TryGetValue(name, out var list) ? list : [];

    public bool IsPinned(string name) => _pinned.Contains(name);

    /// <summary>True when exactly one node reads the value and nothing else sees it.</summary>
    public bool HasSingleUse(string name) => Consumers(name).Count == 1 && !IsPinned(name);

    public string Unique(string hint)
    {
        var name = hint;
        for (var i = 1; !_names.Add(name); i++)
            name = $"{hint}_{i}";
        return name;
    }

    public string AddConstant(TensorProto tensor)
    {
        tensor.Name = Unique(tensor.Name);
        _constants[tensor.Name] = tensor;
        return tensor.Name;
    }

    public NodeProto AddNode(string opType, IEnumerable<string> inputs, string output, params ReadOnlySpan<AttributeProto> attributes)
    {
        var node = new NodeProto { Name = output, OpType = opType, Input = { inputs }, Output = { output } };
        foreach (var attribute in attributes)
            node.Attribute.Add(attribute);
        _nodes.Add(node);
        Index(node);
        return node;
    }

    public void SetInput(NodeProto node, int index, string value)
    {
        while (node.Input.Count <= index)
            node.Input.Add("");
        Unread(node, node.Input[index]);
        node.Input[index] = value;
        Read(node, value);
    }

    public void SetOutput(NodeProto node, string value)
    {
        if (_producers.GetValueOrDefault(node.Output[0]) == node)
            _producers.Remove(node.Output[0]);
        node.Output[0] = value;
        _producers[value] = node;
    }

    /// <summary>Lets every reader of one value read another.</summary>
    public void ReplaceUses(string value, string replacement, Func<NodeProto, bool>? where = null)
    {
        foreach (var node in Consumers(value).ToArray())
        {
            if (where is not null && !where(node))
                continue;
            for (var i = 0; i < node.Input.Count; i++)
            {
                if (node.Input[i] == value)
                    SetInput(node, i, replacement);
            }
        }
    }

    public void Remove(NodeProto node)
    {
        _nodes.Remove(node);
        foreach (var input in node.Input)
            Unread(node, input);
        foreach (var output in node.Output)
        {
            if (_producers.GetValueOrDefault(output) == node)
                _producers.Remove(output);
        }
    }

    /// <summary>Removes nodes whose outputs nothing reads.</summary>
    public void Sweep()
    {
        for (var i = _nodes.Count - 1; i >= 0; i--)
        {
            var node = _nodes[i];
            if (node.Output.All(o => o.Length == 0 || (Consumers(o).Count == 0 && !IsPinned(o))))
            {
                Remove(node);
                i = _nodes.Count;
            }
        }
    }

    /// <summary>Writes the edits back to the model.</summary>
    public void Apply()
    {
        var graph = _model.Graph;
        var inputs = graph.Input.Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        var defaults = graph.Initializer.Where(t => inputs.Contains(t.Name)).ToArray();
        graph.Initializer.Clear();
        graph.Initializer.Add(defaults);
        graph.Initializer.Add(_constants.Where(c => Consumers(c.Key).Count > 0 || IsPinned(c.Key)).Select(c => c.Value));
        graph.Node.Clear();
        graph.Node.Add(GraphOrder.Sort(_nodes));
        // Declared inner shapes would have to follow every edit; ONNX Runtime infers them itself.
        graph.ValueInfo.Clear();
    }

    private void Index(NodeProto node)
    {
        foreach (var input in node.Input)
            Read(node, input);
        foreach (var output in node.Output.Where(o => o.Length > 0))
        {
            _producers[output] = node;
            _names.Add(output);
        }
        foreach (var inner in node.InnerGraphs())
            _pinned.UnionWith(inner.Node.SelectMany(n => n.Reads()).Concat(inner.Output.Select(o => o.Name)));
    }

    private void Read(NodeProto node, string value)
    {
        if (value.Length == 0)
            return;
        if (!_consumers.TryGetValue(value, out var list))
            _consumers[value] = list = [];
        if (!list.Contains(node))
            list.Add(node);
    }

    private void Unread(NodeProto node, string value)
    {
        if (value.Length > 0 && node.Input.Count(i => i == value) <= 1 && _consumers.TryGetValue(value, out var list))
            list.Remove(node);
    }
}
