using DeepSeek.Onnx;

namespace DeepSeek.Inference.Tests.Generation;

/// <summary>A language model of one layer of causal attention with random weights, in the form that training exports.</summary>
internal static class AttendingModel
{
    public const int Tokens = 257;
    public const int Block = 4;
    private const int Heads = 2;

    /// <param name="context">Tokens that it sees.</param>
    /// <param name="cached">Whether it can go on from keys and values.</param>
    /// <param name="width">Of a token; a multiple of 2.</param>
    /// <param name="ends">Whether it may end a document.</param>
    /// <param name="density">Of block-sparse attention in blocks of <see cref="Block"/>, which it then has.</param>
    public static byte[] Onnx(int context, bool cached, int width = 16, bool ends = true, float? density = null)
    {
        var random = new Random(5);
        var classes = string.Join(",", Enumerable.Range(0, Tokens).Select(t => $"\"t{t}\""));
        var g = new OnnxGraph("attending").Metadata(
            "deepseek.model", $$"""{"task":"languageModeling","kind":"text","classes":[{{classes}}],"featureShape":[{{context}}],"inputs":[{"name":"story","type":"text","datatype":"INT64","shape":[-1,-1]}]}""");
        string Weights(string name, float size, params long[] shape)
        {
            var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = ((random.NextSingle() * 2) - 1) * size;
            }

            return g.Initializer(OnnxTensors.Of(name, values, shape));
        }

        string Longs(params long[] values) => g.Initializer(OnnxTensors.Of("longs", values, values.Length));
        string SizeOf(string value, int axis) => g.Node("Shape", [value], OnnxAttribute.Of("start", axis), OnnxAttribute.Of("end", axis + 1));

        var story = g.Input("story", OnnxType.Int64, "N", "T");
        var ids = g.Node("Max", [story, g.Scalar("zero", 0L)]);
        var (rows, length) = (SizeOf(ids, 0), SizeOf(ids, 1));
        string[] past = [.. new[] { "key", "value" }.Where(_ => cached).Select(part => g.Node("Expand", [
            g.Optional($"past_key_values.0.{part}", OnnxTensors.Of("", Array.Empty<float>(), 1, Heads, 0, width / Heads), default, Heads, "P", width / Heads),
            g.Node("Concat", [rows, Longs(1, 1, 1)], OnnxAttribute.Of("axis", 0))]))];
        var known = cached ? SizeOf(past[0], 2) : Longs(0);

        var table = Weights("table", 1, Tokens, width);
        var places = g.Node("Slice", [Weights("places", 1, context, width), known, g.Node("Add", [known, length]), Longs(0)]);
        var x = g.Node("Add", [g.Node("Gather", [table, ids], OnnxAttribute.Of("axis", 0)), places]); // [N, T, width]
        string Projected(string name) => g.Node("Transpose", [g.Node("Reshape", [
            g.Node("MatMul", [x, Weights(name, 2 / MathF.Sqrt(width), width, width)]), Longs(0, 0, Heads, width / Heads)])], OnnxAttribute.Of("perm", [0L, 2, 1, 3]));
        var (query, key, value) = (Projected("query"), Projected("key"), Projected("value"));
        if (cached)
        {
            g.NodeTo("present.0.key", "Concat", [past[0], key], OnnxAttribute.Of("axis", 2));
            g.NodeTo("present.0.value", "Concat", [past[1], value], OnnxAttribute.Of("axis", 2));
            (key, value) = ("present.0.key", "present.0.value");
        }

        var real = g.Node("Cast", [g.Node("GreaterOrEqual", [story, g.Scalar("first", 0L)])], OnnxAttribute.Of("to", (long)OnnxType.Int64));
        var count = g.Node("ReduceSum", [real, Longs(1)]); // [N, 1]
        string Filled(float number, string columns) => g.Node("ConstantOfShape", [g.Node("Concat", [length, columns], OnnxAttribute.Of("axis", 0))], OnnxAttribute.Of("value", OnnxTensors.Of("", [number], 1)));
        string Sparse() => g.FunctionNode(BlockSparseNode.DenseFunction, BlockSparseNode.OpType, BlockSparseNode.Domain, BlockSparseNode.Version,
            [query, key, value, g.Node("Reshape", [g.Node("Add", [count, known]), Longs(-1)])],
            OnnxAttribute.Of("causal", 1), OnnxAttribute.Of("scale", 1f), OnnxAttribute.Of("block_q", Block), OnnxAttribute.Of("block_k", Block),
            OnnxAttribute.Of("density", density!.Value), OnnxAttribute.Of("mass", 1f), OnnxAttribute.Of("sink", 1), OnnxAttribute.Of("window", 0), OnnxAttribute.Of("minimum", 1),
            OnnxAttribute.Of("shared_budget", 0), OnnxAttribute.Of("stride", 2), OnnxAttribute.Of("estimate", 2), OnnxAttribute.Of("power", 2f));
        string Dense()
        {
            var own = g.Node("Trilu", [Filled(float.NegativeInfinity, length), g.Scalar("diagonal", 1L)], OnnxAttribute.Of("upper", 1));
            var mask = g.Node("Concat", [Filled(0, known), own], OnnxAttribute.Of("axis", 1)); // [T, P + T]
            var scores = g.Node("Add", [g.Node("MatMul", [query, g.Node("Transpose", [key], OnnxAttribute.Of("perm", [0L, 1, 3, 2]))]), mask]);
            return g.Node("MatMul", [g.Node("Softmax", [scores], OnnxAttribute.Of("axis", -1)), value]);
        }

        var seen = g.Node("Transpose", [density is null ? Dense() : Sparse()], OnnxAttribute.Of("perm", [0L, 2, 1, 3]));
        var mixed = g.Node("MatMul", [g.Node("Reshape", [seen, Longs(0, 0, width)]), Weights("mix", 2 / MathF.Sqrt(width), width, width)]);
        var head = g.Node("MatMul", [g.Node("Add", [x, mixed]), Weights("head", 4 / MathF.Sqrt(width), width, Tokens)]);
        var logits = g.NodeTo("logits", "Add", [head, g.Initializer(OnnxTensors.Of("bias", [.. Enumerable.Repeat(0f, Tokens - 1), ends ? 0 : -1e4f], Tokens))]); // [N, T, 257]

        var last = g.Node("Sub", [count, g.Scalar("one", 1L)]);
        var behind = g.Node("GatherND", [logits, last], OnnxAttribute.Of("batch_dims", 1));
        g.NodeTo("probabilities", "Softmax", [behind], OnnxAttribute.Of("axis", 1));
        var names = g.Initializer(OnnxTensors.Of("names", [.. Enumerable.Range(0, Tokens).Select(t => $"t{t}")], Tokens));
        g.NodeTo("label", "Gather", [names, g.Node("ArgMax", [behind], OnnxAttribute.Of("axis", 1), OnnxAttribute.Of("keepdims", 0))], OnnxAttribute.Of("axis", 0));
        g.Output("logits", OnnxType.Float, "N", "T", Tokens);
        g.Output("label", OnnxType.String, "N");
        g.Output("probabilities", OnnxType.Float, "N", Tokens);
        foreach (var part in cached ? ["key", "value"] : Array.Empty<string>())
        {
            g.Output($"present.0.{part}", OnnxType.Float, "N", Heads, default, width / Heads);
        }

        return OnnxModels.ToBytes(g.ToModel());
    }
}
