using Google.Protobuf.Collections;
using Onnx;

namespace DeepSeek.Onnx;

/// <summary>The graph surgery behind <see cref="OnnxModels.Join"/>.</summary>
internal static class OnnxJoin
{
    public static ModelProto Run(ModelProto first, ModelProto second, IReadOnlyDictionary<string, string> ioMap, string prefix)
    {
        var functions = first.Functions.Concat(second.Functions).Distinct().ToList();
        if (functions.GroupBy(f => (f.Domain, f.Name)).FirstOrDefault(g => g.Count() > 1) is { } two)
            throw new InvalidOnnxException($"Both models have a local function '{two.Key.Domain}::{two.Key.Name}', and the two differ; rename or inline one of them.");
        foreach (var (output, input) in ioMap)
        {
            if (first.Graph.Output.All(o => o.Name != output))
                throw new InvalidOnnxException($"The first model has no output '{output}'; it has {Names(first.Graph.Output)}.");
            if (second.Graph.Input.All(i => i.Name != input))
                throw new InvalidOnnxException($"The second model has no input '{input}'; it has {Names(second.Graph.Input)}.");
        }

        var model = new ModelProto
        {
            IrVersion = Math.Max(first.IrVersion, second.IrVersion),
            ProducerName = second.ProducerName,
            ProducerVersion = second.ProducerVersion,
            Graph = Prefixed(first.Graph, ioMap, prefix),
        };
        model.Graph.Name = second.Graph.Name;
        Append(model.Graph, Distinct(second.Graph, model.Graph, ioMap), ioMap);
        JoinImports(model, first, second);
        model.Functions.Add(functions.Select(f => f.Clone()));
        foreach (var entry in second.MetadataProps.Concat(first.MetadataProps).DistinctBy(e => e.Key, StringComparer.Ordinal))
            model.MetadataProps.Add(entry.Clone());
        OnnxModels.Validate(model);
        return model;
    }

    private static GraphProto Prefixed(GraphProto source, IReadOnlyDictionary<string, string> ioMap, string prefix)
    {
        var graph = source.Clone();
        var kept = graph.Input.Select(i => i.Name).ToHashSet(StringComparer.Ordinal);
        string Name(string name) => name.Length == 0 || kept.Contains(name) ? name : ioMap.GetValueOrDefault(name) ?? prefix + name;

        // A value that is output and also input or constant needs a node of its own to get the joined name.
        var made = graph.Node.SelectMany(n => n.Output).ToHashSet(StringComparer.Ordinal);
        var passed = ioMap.Where(p => kept.Contains(p.Key)).ToList();
        if (ioMap.Keys.FirstOrDefault(k => !made.Contains(k) && !kept.Contains(k)) is { } constant)
            throw new InvalidOnnxException($"Output '{constant}' of the first model is a constant; it cannot be joined.");
        Rename(graph, Name, prefix);
        foreach (var (input, target) in passed)
            graph.Node.Add(new NodeProto { Name = prefix + "pass_" + input, OpType = "Identity", Input = { input }, Output = { target } });
        foreach (var output in graph.Output.Where(o => ioMap.Values.Contains(o.Name)))
            graph.ValueInfo.Add(output.Clone());
        graph.Output.Clear();
        return graph;
    }

    private static void Rename(GraphProto graph, Func<string, string> name, string prefix)
    {
        foreach (var tensor in graph.Initializer)
            tensor.Name = name(tensor.Name);
        foreach (var sparse in graph.SparseInitializer)
            sparse.Values.Name = name(sparse.Values.Name);
        foreach (var value in graph.ValueInfo.Concat(graph.Output))
            value.Name = name(value.Name);
        foreach (var annotation in graph.QuantizationAnnotation)
        {
            annotation.TensorName = name(annotation.TensorName);
            foreach (var entry in annotation.QuantParameterTensorNames)
                entry.Value = name(entry.Value);
        }
        foreach (var node in graph.Node)
        {
            node.Name = prefix + node.Name;
            Map(node.Input, name);
            Map(node.Output, name);
            foreach (var inner in node.InnerGraphs())
            {
                // Inner graphs see the outer values, so their names follow the same rule; their inputs do too.
                foreach (var input in inner.Input)
                    input.Name = name(input.Name);
                Rename(inner, name, prefix);
            }
        }
    }

    private static void Map(RepeatedField<string> names, Func<string, string> name)
    {
        for (var i = 0; i < names.Count; i++)
            names[i] = name(names[i]);
    }

    /// <summary>
    /// A copy of the second graph whose inner values share no name with the first: a column called "weight" must not
    /// stand in the way of a net that calls its weights so. Inputs and outputs keep their names, so there a clash is a fault.
    /// </summary>
    private static GraphProto Distinct(GraphProto second, GraphProto first, IReadOnlyDictionary<string, string> ioMap)
    {
        var joined = ioMap.Values.ToHashSet(StringComparer.Ordinal);
        var taken = Values(first).Where(n => !joined.Contains(n)).ToHashSet(StringComparer.Ordinal);
        var fixedNames = second.Input.Concat(second.Output).Select(v => v.Name).ToHashSet(StringComparer.Ordinal);
        if (fixedNames.FirstOrDefault(taken.Contains) is { } clash)
            throw new InvalidOnnxException($"'{clash}' is a value of the first model and an input or output of the second; rename it in one of them.");
        var names = taken.Concat(Values(second)).ToHashSet(StringComparer.Ordinal);
        var renamed = Values(second).Distinct().Where(taken.Contains).ToDictionary(n => n, n => OnnxNames.Take(names, n), StringComparer.Ordinal);
        var copy = second.Clone();
        if (renamed.Count > 0)
            Rename(copy, name => renamed.GetValueOrDefault(name, name), "");
        return copy;
    }

    private static IEnumerable<string> Values(GraphProto graph) =>
        graph.Input.Select(i => i.Name).Concat(graph.Initializer.Select(t => t.Name)).Concat(graph.SparseInitializer.Select(s => s.Values.Name))
            .Concat(graph.Node.SelectMany(n => n.Output)).Concat(graph.Node.SelectMany(GraphOrder.InnerGraphs).SelectMany(Values)).Where(n => n.Length > 0);

    private static void Append(GraphProto graph, GraphProto second, IReadOnlyDictionary<string, string> ioMap)
    {
        var joined = ioMap.Values.ToHashSet(StringComparer.Ordinal);
        graph.Input.Add(second.Input.Where(i => !joined.Contains(i.Name)).Select(i => i.Clone()));
        graph.Node.Add(second.Node.Select(n => n.Clone()));
        graph.Initializer.Add(second.Initializer.Select(t => t.Clone()));
        graph.SparseInitializer.Add(second.SparseInitializer.Select(t => t.Clone()));
        graph.ValueInfo.Add(second.ValueInfo.Select(v => v.Clone()));
        graph.QuantizationAnnotation.Add(second.QuantizationAnnotation.Select(a => a.Clone()));
        graph.Output.Add(second.Output.Select(o => o.Clone()));
    }

    private static void JoinImports(ModelProto model, ModelProto first, ModelProto second)
    {
        foreach (var group in first.OpsetImport.Concat(second.OpsetImport).GroupBy(o => OnnxModels.Domain(o.Domain)).OrderBy(g => g.Key, StringComparer.Ordinal))
        {
            var versions = group.Select(o => o.Version).Distinct().ToArray();
            if (versions.Length > 1)
                throw new InvalidOnnxException($"The models import versions {versions[0]} and {versions[1]} of operator domain '{(group.Key.Length == 0 ? "ai.onnx" : group.Key)}'; export both with the same one.");
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = group.Key, Version = versions[0] });
        }
    }

    private static string Names(IEnumerable<ValueInfoProto> values) => string.Join(", ", values.Select(v => $"'{v.Name}'"));
}
