using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Engine.Export;

/// <summary>
/// Writes a language model as ONNX (opset 17): input <c>features</c> INT64 [N, T], tokens with a negative number behind the last of each
/// row; outputs <c>logits</c> FLOAT [N, T, K] of the token behind each one, and of the token behind the last one of each row
/// <c>label</c> STRING [N] and <c>probabilities</c> FLOAT [N, K].
/// </summary>
public static class LanguageExport
{
    /// <summary>The net alone, with its constants folded.</summary>
    /// <param name="net">int64 tokens [N, T] → logits [N, T, K]. It must be causal: what stands behind a row's end may not reach before it.</param>
    /// <param name="tokens">Names of the K tokens.</param>
    /// <param name="metadata">Entries of the model's metadata.</param>
    public static ModelProto Write(Module net, IReadOnlyList<string> tokens, IReadOnlyDictionary<string, string> metadata)
    {
        var graph = new OnnxGraph("deepseek");
        foreach (var (key, value) in metadata)
        {
            graph.Metadata(key, value);
        }
        var features = graph.Input(NetExport.Features, OnnxType.Int64, "N", "T");
        var first = graph.Scalar("first", 0L);
        var ids = graph.NodeTo("ids", "Max", [features, first]);
        var made = ModelExport.Add(graph, net, [new ExportInput(ids, Dtype.Int64, "N", "T")], x => net.Forward(x[0]), [], inner: true);
        var logits = graph.NodeTo("logits", "Identity", [made.Name]);
        graph.Output(logits, OnnxType.Float, "N", "T", tokens.Count);
        var real = graph.Node("Cast", [graph.Node("GreaterOrEqual", [features, first])], OnnxAttribute.Of("to", (long)OnnxType.Int64));
        var length = graph.Node("ReduceSum", [real, graph.Initializer(OnnxTensors.Of("axes", [1L], 1))], OnnxAttribute.Of("keepdims", 1)); // [N, 1]
        var last = graph.Node("Sub", [length, graph.Scalar("one", 1L)]);
        NetExport.Classify(graph, graph.Node("GatherND", [logits, last], OnnxAttribute.Of("batch_dims", 1)), tokens); // [N, K]
        return OnnxOptimizer.Run(graph.ToModel(), OnnxOptimizer.Portable).Model;
    }
}
