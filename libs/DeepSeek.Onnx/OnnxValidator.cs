using Google.Protobuf.Collections;
using Onnx;

namespace DeepSeek.Onnx;

/// <summary>The checks behind <see cref="OnnxModels.Validate(ModelProto, OnnxLimits?)"/>.</summary>
internal sealed class OnnxValidator(ModelProto model, OnnxLimits limits)
{
    private readonly HashSet<string> _imported = new(StringComparer.Ordinal);
    private readonly HashSet<(string, string)> _functions = [];
    private int _nodes;

    public void Run()
    {
        if (model.Graph is null)
            throw new InvalidOnnxException("The file holds no graph; it is not an ONNX model.");
        var size = model.CalculateSize();
        if (size > limits.MaxBytes)
            throw new InvalidOnnxException($"The model has {size} bytes; the limit is {limits.MaxBytes}.");
        if (model.IrVersion < limits.IrVersions.Oldest || model.IrVersion > limits.IrVersions.Newest)
            throw new InvalidOnnxException($"IR version {model.IrVersion} is not supported; export with a version from {limits.IrVersions.Oldest} to {limits.IrVersions.Newest}.");
        if (model.TrainingInfo.Count > 0)
            throw new InvalidOnnxException("The model holds training graphs; export it for inference.");
        CheckImports(model.OpsetImport);
        foreach (var function in model.Functions)
            _functions.Add((function.Domain, function.Name));
        foreach (var function in model.Functions)
        {
            var known = new HashSet<string>(function.Input, StringComparer.Ordinal);
            CheckNodes(function.Node, known, $"function '{function.Name}'");
            foreach (var output in function.Output)
                RequireMade(known, output, $"function '{function.Name}'");
        }
        CheckGraph(model.Graph, []);
    }

    private void CheckImports(RepeatedField<OperatorSetIdProto> imports)
    {
        if (imports.Count == 0)
            throw new InvalidOnnxException("The model imports no operator set; export it with one.");
        foreach (var import in imports)
        {
            var domain = OnnxModels.Domain(import.Domain);
            var functions = model.Functions.Any(f => f.Domain == domain);
            if (!limits.Domains.TryGetValue(domain, out var range) && !functions)
                throw new InvalidOnnxException($"Operator domain '{domain}' is not supported; supported are {string.Join(", ", limits.Domains.Keys.Select(Quote))}.");
            if (!functions && (import.Version < range.Oldest || import.Version > range.Newest))
                throw new InvalidOnnxException($"Version {import.Version} of operator domain {Quote(domain)} is not supported; export with a version from {range.Oldest} to {range.Newest}.");
            if (!_imported.Add(domain))
                throw new InvalidOnnxException($"Operator domain {Quote(domain)} is imported twice.");
        }
    }

    private void CheckGraph(GraphProto graph, HashSet<string> outer)
    {
        var where = $"graph '{graph.Name}'";
        var known = new HashSet<string>(outer, StringComparer.Ordinal);
        var own = new HashSet<string>(StringComparer.Ordinal);
        foreach (var input in graph.Input)
        {
            if (input.Name.Length == 0 || !own.Add(input.Name))
                throw new InvalidOnnxException($"In {where} an input has no name or its name '{input.Name}' is used twice.");
        }
        var constants = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tensor in graph.Initializer)
        {
            CheckTensor(tensor, $"initializer '{tensor.Name}'");
            if (tensor.Name.Length == 0 || !constants.Add(tensor.Name))
                throw new InvalidOnnxException($"In {where} an initializer has no name or its name '{tensor.Name}' is used twice.");
        }
        foreach (var sparse in graph.SparseInitializer)
        {
            CheckSparse(sparse, $"sparse initializer of {where}");
            constants.Add(sparse.Values?.Name ?? "");
        }
        known.UnionWith(own);
        known.UnionWith(constants);
        CheckNodes(graph.Node, known, where);
        if (graph.Output.Count == 0)
            throw new InvalidOnnxException($"In {where} there is no output.");
        foreach (var output in graph.Output)
            RequireMade(known, output.Name, where);
    }

    private void CheckNodes(RepeatedField<NodeProto> nodes, HashSet<string> known, string where)
    {
        foreach (var node in nodes)
        {
            if (++_nodes > limits.MaxNodes)
                throw new InvalidOnnxException($"The model has more than {limits.MaxNodes} nodes.");
            var domain = OnnxModels.Domain(node.Domain);
            if (!_imported.Contains(domain) && !_functions.Contains((node.Domain, node.OpType)))
                throw new InvalidOnnxException($"Node '{node.Name}' ({node.OpType}) is of operator domain {Quote(domain)}, which the model does not import.");
            foreach (var input in node.Input)
            {
                if (input.Length > 0 && !known.Contains(input))
                    throw new InvalidOnnxException($"Node '{node.Name}' ({node.OpType}) in {where} reads '{input}', which nothing before it makes.");
            }
            foreach (var attribute in node.Attribute)
                CheckAttribute(attribute, node, known);
            foreach (var output in node.Output)
            {
                if (output.Length > 0 && !known.Add(output))
                    throw new InvalidOnnxException($"Node '{node.Name}' ({node.OpType}) in {where} makes '{output}', a name that is taken.");
            }
        }
    }

    private void CheckAttribute(AttributeProto attribute, NodeProto node, HashSet<string> known)
    {
        var where = $"attribute '{attribute.Name}' of node '{node.Name}'";
        if (attribute.T is { } tensor)
            CheckTensor(tensor, where);
        foreach (var item in attribute.Tensors)
            CheckTensor(item, where);
        if (attribute.SparseTensor is { } sparse)
            CheckSparse(sparse, where);
        foreach (var item in attribute.SparseTensors)
            CheckSparse(item, where);
        if (attribute.G is { } graph)
            CheckGraph(graph, known);
        foreach (var item in attribute.Graphs)
            CheckGraph(item, known);
    }

    private static void CheckSparse(SparseTensorProto sparse, string where)
    {
        if (sparse.Values is { } values)
            CheckTensor(values, where);
        if (sparse.Indices is { } indices)
            CheckTensor(indices, where);
    }

    private static void CheckTensor(TensorProto tensor, string where)
    {
        if (tensor.ExternalData.Count > 0 || tensor.DataLocation == TensorProto.Types.DataLocation.External)
        {
            var location = tensor.ExternalData.FirstOrDefault(e => e.Key == "location")?.Value;
            throw new InvalidOnnxException($"The {where} keeps its data outside the model (location '{location}'); save the model as one file.");
        }
        if (tensor.Segment is not null)
            throw new InvalidOnnxException($"The {where} is a segment of a tensor; save it whole.");
        long count;
        try
        {
            count = tensor.Count();
        }
        catch (InvalidOnnxException e)
        {
            throw new InvalidOnnxException($"The {where} has a bad shape. {e.Message}", e);
        }
        if (tensor.RawData.Length == 0 || tensor.DataType is < 1 or > 16 or 14 or 15)
            return;
        var size = OnnxShapes.SizeOf(tensor.Type());
        if (size == 0 || tensor.RawData.Length != (decimal)count * size)
            throw new InvalidOnnxException($"The {where} holds {tensor.RawData.Length} bytes; its shape [{string.Join(", ", tensor.Dims)}] of {tensor.Type()} needs {(decimal)count * size}.");
    }

    private static void RequireMade(HashSet<string> known, string name, string where)
    {
        if (!known.Contains(name))
            throw new InvalidOnnxException($"Output '{name}' of {where} is made by no node.");
    }

    private static string Quote(string domain) => domain.Length == 0 ? "'ai.onnx'" : $"'{domain}'";
}
