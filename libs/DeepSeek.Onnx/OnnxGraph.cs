using Onnx;

namespace DeepSeek.Onnx;

/// <summary>
/// Builds an ONNX model node by node. Names of nodes and values are unique: a hint that is taken gets a number.
/// Nodes are added in execution order; <see cref="ToModel"/> validates the result.
/// </summary>
public sealed class OnnxGraph
{
    /// <summary>Domain of the classical machine-learning operators.</summary>
    public const string MlDomain = "ai.onnx.ml";

    private readonly GraphProto _graph;
    private readonly SortedDictionary<string, long> _opsets = new(StringComparer.Ordinal);
    private readonly OrderedDictionary<(string Domain, string Name), FunctionProto> _functions = [];
    private readonly SortedDictionary<string, string> _metadata = new(StringComparer.Ordinal);
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private readonly HashSet<string> _nodeNames = new(StringComparer.Ordinal);
    private readonly long _irVersion;

    public OnnxGraph(string name, long opset = 17, long irVersion = 8)
    {
        _graph = new GraphProto { Name = name };
        _opsets[""] = opset;
        _irVersion = irVersion;
    }

    /// <summary>Imports an operator domain, for example <see cref="MlDomain"/> 3.</summary>
    public OnnxGraph Import(string domain, long version)
    {
        _opsets[domain] = version;
        return this;
    }

    /// <summary>Sets an entry of the model's <c>metadata_props</c>.</summary>
    public OnnxGraph Metadata(string key, string value)
    {
        _metadata[key] = value;
        return this;
    }

    /// <summary>Declares a graph input, for example <c>Input("image", OnnxType.UInt8, "N", 1, 28, 28)</c>, and returns its name.</summary>
    public string Input(string name, OnnxType type, params ReadOnlySpan<OnnxDim> shape)
    {
        Claim(name);
        _graph.Input.Add(OnnxShapes.ValueInfo(name, type, shape));
        return name;
    }

    /// <summary>Declares a graph input that callers may leave out, which then has this value, and returns its name.</summary>
    public string Optional(string name, TensorProto standard, params ReadOnlySpan<OnnxDim> shape)
    {
        Input(name, standard.Type(), shape);
        standard.Name = name;
        _graph.Initializer.Add(standard);
        return name;
    }

    /// <summary>Declares a value that a node already makes as a graph output.</summary>
    public void Output(string name, OnnxType type, params ReadOnlySpan<OnnxDim> shape) =>
        _graph.Output.Add(OnnxShapes.ValueInfo(name, type, shape));

    /// <summary>Adds a constant tensor (see <see cref="OnnxTensors"/>) and returns the name it got.</summary>
    public string Initializer(TensorProto tensor)
    {
        tensor.Name = Unique(tensor.Name.Length == 0 ? "constant" : tensor.Name);
        _graph.Initializer.Add(tensor);
        return tensor.Name;
    }

    public string Scalar(string hint, float value) => Initializer(OnnxTensors.Of(hint, [value]));

    public string Scalar(string hint, double value) => Initializer(OnnxTensors.Of(hint, [value]));

    public string Scalar(string hint, long value) => Initializer(OnnxTensors.Of(hint, [value]));

    /// <summary>Adds a node with one output of a generated name and returns that name.</summary>
    public string Node(string opType, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes) =>
        Add(opType, "", inputs, [Unique(opType)], attributes);

    /// <summary>Adds a node of the ai.onnx.ml domain with one output of a generated name and returns that name.</summary>
    public string MlNode(string opType, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes) =>
        Add(opType, MlDomain, inputs, [Unique(opType)], attributes);

    /// <summary>Adds a node whose single output has exactly this name.</summary>
    public string NodeTo(string output, string opType, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes)
    {
        Claim(output);
        return Add(opType, "", inputs, [output], attributes);
    }

    /// <summary>Adds a node with exactly these outputs, in any domain.</summary>
    public void Nodes(string opType, string domain, ReadOnlySpan<string> inputs, ReadOnlySpan<string> outputs, params ReadOnlySpan<AttributeProto> attributes)
    {
        foreach (var output in outputs)
        {
            if (output.Length > 0)
                Claim(output);
        }
        Add(opType, domain, inputs, outputs, attributes);
    }

    /// <summary>Adds a node of the standard domain whose outputs have names that <see cref="Unique"/> gave.</summary>
    public void NodesOf(string opType, ReadOnlySpan<string> inputs, ReadOnlySpan<string> outputs, params ReadOnlySpan<AttributeProto> attributes) =>
        Add(opType, "", inputs, outputs, attributes);

    /// <summary>Adds a node of an operator of the model's own, with the function that computes it where the runtime does not; returns its output's name.</summary>
    public string FunctionNode(Func<FunctionProto> function, string opType, string domain, long version, ReadOnlySpan<string> inputs, params ReadOnlySpan<AttributeProto> attributes)
    {
        if (!_functions.ContainsKey((domain, opType)))
            _functions.Add((domain, opType), function());
        Import(domain, version);
        return Add(opType, domain, inputs, [Unique(opType)], attributes);
    }

    /// <summary>A name of this graph that nothing else has.</summary>
    public string Unique(string hint) => OnnxNames.Take(_names, hint);

    /// <summary>The validated model.</summary>
    /// <exception cref="InvalidOnnxException">A node reads a value that nothing before it makes, an output is not made, …</exception>
    public ModelProto ToModel()
    {
        var model = new ModelProto { IrVersion = _irVersion, ProducerName = "DeepSeek.Onnx", Graph = _graph.Clone() };
        foreach (var (domain, version) in _opsets)
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
        foreach (var (key, value) in _metadata)
            model.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = value });
        model.Functions.Add(_functions.Values.Select(f => f.Clone()));
        OnnxModels.Validate(model);
        return model;
    }

    private string Add(string opType, string domain, ReadOnlySpan<string> inputs, ReadOnlySpan<string> outputs, ReadOnlySpan<AttributeProto> attributes)
    {
        var node = new NodeProto { Name = OnnxNames.Take(_nodeNames, outputs[0]), OpType = opType, Domain = domain };
        foreach (var input in inputs)
            node.Input.Add(input);
        foreach (var output in outputs)
            node.Output.Add(output);
        foreach (var attribute in attributes)
            node.Attribute.Add(attribute);
        _graph.Node.Add(node);
        return outputs[0];
    }

    private void Claim(string name)
    {
        if (!_names.Add(name))
            throw new ArgumentException($"The name '{name}' is taken in graph '{_graph.Name}'.", nameof(name));
    }
}
