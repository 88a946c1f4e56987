using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>
/// A model's main graph with an index of who makes and who reads each value. Edits keep the index true;
/// <see cref="Apply"/> writes nodes back in execution order without what nothing uses. Inner graphs stay as they are.
/// </summary>
public sealed class GraphEditor
{
    private readonly List<NodeProto> _nodes;
    private readonly Func<NodeProto, bool> _keep;
    private readonly OrderedDictionary<string, TensorProto> _constants = new(StringComparer.Ordinal);
    private readonly Dictionary<string, NodeProto> _producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<NodeProto>> _consumers = new(StringComparer.Ordinal);
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    /// <summary>Values that keep their names and their last reader: graph outputs and what inner graphs or annotations name.</summary>
    private readonly HashSet<string> _pinned = new(StringComparer.Ordinal);

    /// <param name="model">What to edit; it changes when <see cref="Apply"/> is called.</param>
    /// <param name="keep">Nodes that passes leave as they are; none if not given.</param>
    public GraphEditor(ModelProto model, Func<NodeProto, bool>? keep = null)
    {
        Model = model;
        _keep = keep ?? (_ => false);
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
        _names.UnionWith(model.Graph.SparseInitializer.Select(s => s.Values?.Name ?? ""));
        _pinned.UnionWith(model.Graph.Output.Select(o => o.Name));
        _pinned.UnionWith(model.Graph.QuantizationAnnotation.Select(a => a.TensorName));
        foreach (var node in _nodes)
            Index(node);
    }

    public ModelProto Model { get; }

    /// <summary>All nodes; new ones are last.</summary>
    public IReadOnlyList<NodeProto> Nodes => _nodes;

    /// <summary>A copy, to walk over while the graph changes, of the nodes that passes may touch.</summary>
    public IReadOnlyList<NodeProto> Editable() => [.. _nodes.Where(n => !_keep(n))];

    /// <summary>Those of them that are of one of these standard operators.</summary>
    public IReadOnlyList<NodeProto> Editable(params IReadOnlyCollection<string> opTypes) =>
        [.. _nodes.Where(n => n.Domain.Length == 0 && opTypes.Contains(n.OpType) && !_keep(n))];

    /// <summary>Whether passes leave this node as it is.</summary>
    public bool Keeps(NodeProto node) => _keep(node);

    public TensorProto? Constant(string name) => _constants.GetValueOrDefault(name);

    /// <summary>The one number that a constant holds.</summary>
    public double? Number(string name) => Constant(name) is { } tensor && tensor.Count() == 1
        ? tensor.Type() switch { OnnxType.Float => tensor.Floats()[0], OnnxType.Double => tensor.Doubles()[0], OnnxType.Int64 => tensor.Longs()[0], _ => null }
        : null;

    /// <summary>The values of an INT64 constant.</summary>
    public long[]? Longs(string name) => Constant(name) is { } tensor && tensor.Type() == OnnxType.Int64 ? tensor.Longs() : null;

    public NodeProto? Producer(string name) => _producers.GetValueOrDefault(name);

    /// <summary>The node that makes this value, if it is of a standard operator.</summary>
    public NodeProto? Producer(string name, string opType) => Producer(name) is { } node && Is(node, opType) ? node : null;

    public IReadOnlyList<NodeProto> Consumers(string name) => _consumers.TryGetValue(name, out var list) ? list : [];

    /// <summary>The value's only reader, if it is of a standard operator and nothing else needs the value.</summary>
    public NodeProto? OnlyConsumer(string name, string opType) => HasSingleUse(name) && Is(Consumers(name)[0], opType) ? Consumers(name)[0] : null;

    public bool IsPinned(string name) => _pinned.Contains(name);

    /// <summary>True when exactly one node reads the value and nothing else sees it.</summary>
    public bool HasSingleUse(string name) => Consumers(name).Count == 1 && !IsPinned(name);

    /// <summary>A name of this graph that nothing else has.</summary>
    public string Unique(string hint) => OnnxNames.Take(_names, hint);

    public string AddConstant(TensorProto tensor)
    {
        tensor.Name = Unique(tensor.Name.Length == 0 ? "constant" : tensor.Name);
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

    /// <summary>Turns a node into another with the same outputs.</summary>
    public void Become(NodeProto node, string opType, string domain, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes)
    {
        Unread(node);
        (node.OpType, node.Domain) = (opType, domain);
        node.Input.Clear();
        node.Input.AddRange(inputs.ToArray());
        node.Attribute.Clear();
        node.Attribute.AddRange(attributes.ToArray());
        Index(node);
    }

    public void SetInput(NodeProto node, int index, string value)
    {
        while (node.Input.Count <= index)
            node.Input.Add("");
        var old = node.Input[index];
        node.Input[index] = value;
        if (!node.Input.Contains(old))
            Unread(node, old);
        Read(node, value);
    }

    /// <summary>Gives an output another name; its readers keep reading the old one.</summary>
    public void SetOutput(NodeProto node, string value, int index = 0)
    {
        if (_producers.GetValueOrDefault(node.Output[index]) == node)
            _producers.Remove(node.Output[index]);
        node.Output[index] = value;
        _producers[value] = node;
    }

    /// <summary>Lets every reader of one value read another.</summary>
    public void ReplaceUses(string value, string replacement)
    {
        foreach (var node in Consumers(value).ToArray())
        {
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
        Unread(node);
        foreach (var output in node.Output)
        {
            if (_producers.GetValueOrDefault(output) == node)
                _producers.Remove(output);
        }
    }

    /// <summary>Removes nodes whose outputs nothing reads; returns how many.</summary>
    public int Sweep()
    {
        var before = _nodes.Count;
        var unread = new Stack<NodeProto>(_nodes.Where(IsUnread));
        while (unread.TryPop(out var node))
        {
            Remove(node);
            foreach (var producer in node.Input.Select(Producer).OfType<NodeProto>().Distinct().Where(IsUnread))
                unread.Push(producer);
        }
        return before - _nodes.Count;
    }

    /// <summary>Imports an operator domain that a pass writes nodes of.</summary>
    public void Import(string domain, long version)
    {
        if (Model.OpsetImport.All(o => o.Domain != domain))
            Model.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
    }

    /// <summary>Writes the edits back to the model.</summary>
    public void Apply()
    {
        var graph = Model.Graph;
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

    private static bool Is(NodeProto node, string opType) => node.Domain.Length == 0 && node.OpType == opType;

    private bool IsUnread(NodeProto node) => node.Output.All(o => o.Length == 0 || (Consumers(o).Count == 0 && !IsPinned(o)));

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

    private void Unread(NodeProto node)
    {
        foreach (var input in node.Input)
            Unread(node, input);
    }

    private void Unread(NodeProto node, string value)
    {
        if (_consumers.TryGetValue(value, out var list))
            list.Remove(node);
    }
}
