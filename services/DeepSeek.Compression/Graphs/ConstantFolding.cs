using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Compression.Graphs;

/// <summary>Computes once what depends on no input, and removes nodes that do nothing when a model serves.</summary>
public static class ConstantFolding
{
    /// <summary>Larger results are left to be computed, so that folding never makes a file grow without bound.</summary>
    private const int MaxElements = 1 << 22;

    private static readonly HashSet<string> Random = ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"];

    public static void Run(GraphEditor editor, Func<NodeProto, bool> keep, ModelProto model)
    {
        RemovePassThrough(editor, keep);
        FoldConstants(editor, keep, model);
        editor.Sweep();
    }

    private static void RemovePassThrough(GraphEditor editor, Func<NodeProto, bool> keep)
    {
        foreach (var node in editor.Nodes.Where(n => n.OpType is "Identity" or "Dropout" && n.Domain.Length == 0 && !keep(n)).ToArray())
        {
            var mask = node.Output.Count > 1 && node.Output[1].Length > 0 && editor.Consumers(node.Output[1]).Count > 0;
            var training = node.OpType == "Dropout" && node.Input.Count > 2 && node.Input[2].Length > 0 && !(editor.Constant(node.Input[2]) is { } mode && mode.RawData.Span is [0]);
            if (mask || training)
                continue;
            var (input, output) = (node.Input[0], node.Output[0]);
            if (editor.HasSingleUse(input) && editor.Producer(input) is { Output.Count: 1 } producer && !keep(producer))
            {
                // The later name is the one that others know, as "logits".
                editor.Remove(node);
                editor.SetOutput(producer, output);
            }
            else if (!editor.IsPinned(output))
            {
                editor.ReplaceUses(output, input);
                editor.Remove(node);
            }
        }
    }

    private static void FoldConstants(GraphEditor editor, Func<NodeProto, bool> keep, ModelProto model)
    {
        var constant = new HashSet<string>(StringComparer.Ordinal);
        var folded = new List<NodeProto>();
        foreach (var node in editor.Nodes)
        {
            if (keep(node) || Random.Contains(node.OpType) || node.InnerGraphs().Any() || node.Output.Count != 1 || editor.IsPinned(node.Output[0]))
                continue;
            if (node.Input.All(i => i.Length == 0 || editor.Constant(i) is not null || constant.Contains(i)))
            {
                constant.Add(node.Output[0]);
                folded.Add(node);
            }
        }
        var wanted = folded.Select(n => n.Output[0]).Where(o => editor.Consumers(o).Any(c => !folded.Contains(c))).ToArray();
        if (wanted.Length == 0)
            return;
        foreach (var tensor in Compute(editor, folded, wanted, model))
        {
            var node = editor.Producer(tensor.Name)!;
            var value = tensor.Name;
            tensor.Name = value + "/folded";
            editor.ReplaceUses(value, editor.AddConstant(tensor));
            editor.Remove(node);
        }
    }

    private static List<TensorProto> Compute(GraphEditor editor, List<NodeProto> nodes, string[] wanted, ModelProto model)
    {
        var part = new ModelProto { IrVersion = model.IrVersion, OpsetImport = { model.OpsetImport }, Graph = new GraphProto { Name = "constants" } };
        part.Graph.Node.Add(nodes);
        part.Graph.Initializer.Add(nodes.SelectMany(n => n.Input).Distinct().Select(editor.Constant).OfType<TensorProto>());
        part.Graph.Output.Add(wanted.Select(w => new ValueInfoProto { Name = w }));
        using var session = ModelSession.Open(part, GraphOptimizationLevel.ORT_DISABLE_ALL);
        using var run = new RunOptions();
        using var results = session.Run(run, [], [], wanted);
        var tensors = new List<TensorProto>();
        foreach (var (name, value) in wanted.Zip(results))
        {
            if (ToTensor(name, value) is { } tensor)
                tensors.Add(tensor);
        }
        return tensors;
    }

    private static TensorProto? ToTensor(string name, OrtValue value)
    {
        if (!value.IsTensor)
            return null;
        var info = value.GetTensorTypeAndShape();
        if (info.ElementCount > MaxElements)
            return null;
        var dims = info.Shape;
        return (OnnxType)(int)info.ElementDataType switch
        {
            OnnxType.Float => OnnxTensors.Of(name, value.GetTensorDataAsSpan<float>(), dims),
            OnnxType.Double => OnnxTensors.Of(name, value.GetTensorDataAsSpan<double>(), dims),
            OnnxType.Int64 => OnnxTensors.Of(name, value.GetTensorDataAsSpan<long>(), dims),
            OnnxType.Int32 => OnnxTensors.Of(name, value.GetTensorDataAsSpan<int>(), dims),
            OnnxType.Bool => OnnxTensors.Of(name, value.GetTensorDataAsSpan<bool>(), dims),
            OnnxType.Int8 => OnnxTensors.Of(name, value.GetTensorDataAsSpan<sbyte>(), dims),
            OnnxType.UInt8 => OnnxTensors.Of(name, value.GetTensorDataAsSpan<byte>(), dims),
            _ => null,
        };
    }
}
