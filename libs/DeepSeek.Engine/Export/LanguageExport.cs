using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Engine.Export;

/// <summary>
/// Writes a language model as ONNX (opset 17): input <c>features</c> INT64 [N, T], tokens with a negative number behind the last of each
/// row; outputs <c>logits</c> FLOAT [N, T, K] of the token behind each one, and of the token behind the last one of each row
/// <c>label</c> STRING [N] and <c>probabilities</c> FLOAT [N, K]. A net that can go on from keys and values (<see cref="ICachedDecoder"/>) has besides
/// inputs that may be left out, <c>past_key_values.i.key</c> and <c>.value</c> FLOAT [N, H, P, D] of each layer i, which make the tokens those
/// behind P others (then without negative numbers), and outputs <c>present.i.key</c> and <c>.value</c> [N, H, P + T, D] to hand in the next time.
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
        var tokenIds = new ExportInput(ids, Dtype.Int64, "N", "T");
        var lengths = new RowLengths(graph, features, first);
        var made = net is ICachedDecoder decoder
            ? Cached(graph, net, decoder, tokenIds, lengths)
            : ModelExport.Add(graph, net, [tokenIds], x => net.Forward(x[0]), [], inner: true, () => lengths.Keys(null)).Name;
        var logits = graph.NodeTo("logits", "Identity", [made]);
        graph.Output(logits, OnnxType.Float, "N", "T", tokens.Count);
        var last = graph.Node("Sub", [lengths.Column, graph.Scalar("one", 1L)]);
        NetExport.Classify(graph, graph.Node("GatherND", [logits, last], OnnxAttribute.Of("batch_dims", 1)), tokens); // [N, K]
        return OnnxOptimizer.Run(graph.ToModel(), OnnxOptimizer.Portable).Model;
    }

    // An initializer that is also an input is a default that callers may replace: who leaves the past out hands in none.
    private static string Cached(OnnxGraph graph, Module net, ICachedDecoder decoder, ExportInput ids, RowLengths lengths)
    {
        var (heads, width) = (decoder.CacheHeads, decoder.CacheWidth);
        var inputs = new List<ExportInput> { ids };
        string[] names = [.. Enumerable.Range(0, decoder.CacheLayers).SelectMany(i => new[] { $"{i}.key", $"{i}.value" })];
        var rows = graph.Node("Concat", [
            graph.Node("Shape", [ids.Name], OnnxAttribute.Of("start", 0), OnnxAttribute.Of("end", 1)),
            graph.Initializer(OnnxTensors.Of("ones", [1L, 1, 1], 3))], OnnxAttribute.Of("axis", 0));
        foreach (var name in names)
        {
            var past = graph.Optional(KeyValueNames.Past + name, OnnxTensors.Of("", Array.Empty<float>(), 1, heads, 0, width), default, heads, "P", width);
            inputs.Add(new ExportInput(graph.Node("Expand", [past, rows]), Dtype.Float32, "N", heads, "P", width));
        }
        var made = ModelExport.AddAll(graph, net, inputs, x =>
        {
            var outputs = new Tensor[x.Length];
            outputs[0] = decoder.Continue(x[0], x.AsSpan(1), outputs.AsSpan(1));
            return outputs;
        }, () => lengths.Keys(inputs[1].Name));
        for (var i = 0; i < names.Length; i++)
        {
            graph.Output(graph.NodeTo(KeyValueNames.Present + names[i], "Identity", [made[i + 1]]), OnnxType.Float, "N", heads, default, width);
        }
        return made[0];
    }

    /// <summary>How many tokens each row has, made where it is first asked for.</summary>
    private sealed class RowLengths(OnnxGraph graph, string features, string first)
    {
        private string? _column;
        private string? _keys;

        /// <summary>INT64 [N, 1].</summary>
        internal string Column => _column ??= graph.Node("ReduceSum",
            [graph.Node("Cast", [graph.Node("GreaterOrEqual", [features, first])], OnnxAttribute.Of("to", (long)OnnxType.Int64)), graph.Initializer(OnnxTensors.Of("axes", [1L], 1))],
            OnnxAttribute.Of("keepdims", 1));

        /// <summary>INT64 [N] with the tokens in front of them, whose keys are [N, H, P, D]; null: there are none.</summary>
        internal string Keys(string? past) => _keys ??= graph.Node("Reshape", [
            past is null ? Column : graph.Node("Add", [Column, graph.Node("Shape", [past], OnnxAttribute.Of("start", 2), OnnxAttribute.Of("end", 3))]),
            graph.Initializer(OnnxTensors.Of("sizes", [-1L], 1))]);
    }
}
