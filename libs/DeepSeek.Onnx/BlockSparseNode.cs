using Onnx;

namespace DeepSeek.Onnx;

/// <summary>
/// The platform's operator <c>ai.deepseek::BlockSparseAttention</c>, version 1: attention of each block of queries to the blocks of keys that a policy
/// picks. Inputs <c>q</c> FLOAT [N, H, T, D], <c>k</c> and <c>v</c> [N, Hkv, S, D] with Hkv a divisor of H, and <c>key_lengths</c> INT64 [N]: keys behind
/// them are not seen, whatever they hold, a sequence's queries end at key_lengths − (S − T), and rows behind that are 0. Output FLOAT [N, H, T, D].
/// Causal: query i sees key j when j ≤ i + (S − T).
/// </summary>
public static class BlockSparseNode
{
    /// <summary>Operator domain of the platform.</summary>
    public const string Domain = "ai.deepseek";

    /// <summary>Its version.</summary>
    public const long Version = 1;

    /// <summary>The operator's name.</summary>
    public const string OpType = "BlockSparseAttention";

    /// <summary>Far below any score, and finite: a row that sees nothing then has no NaN on its way to 0.</summary>
    private const float Hidden = -1e30f;

    /// <summary>All of its attributes; every node has each of them.</summary>
    public static IReadOnlyList<string> Attributes { get; } =
        ["causal", "scale", "block_q", "block_k", "density", "mass", "sink", "window", "minimum", "shared_budget", "stride", "estimate", "power"];

    /// <summary>
    /// The operator as a local function of a model, for runtimes that do not know it: dense attention in standard operators (opset 17), whatever the
    /// attributes but <c>causal</c> and <c>scale</c> say.
    /// </summary>
    public static FunctionProto DenseFunction()
    {
        var body = new Body();
        var (rows, heads, queries, width) = (body.Size("q", 0), body.Size("q", 1), body.Size("q", 2), body.Size("q", 3));
        var (keyHeads, keys) = (body.Size("k", 1), body.Size("k", 2));

        // Heads that share their keys lie beside each other: [N, Hkv, H / Hkv, T, D] against [N, Hkv, 1, S, D].
        var grouped = body.Node("Concat", [rows, keyHeads, body.Node("Div", [heads, keyHeads]), queries, width], OnnxAttribute.Of("axis", 0));
        var q = body.Node("Mul", [body.Node("Reshape", ["q", grouped]), body.Attribute("value_float", "scale", AttributeProto.Types.AttributeType.Float)]);
        var k = body.Node("Transpose", [body.Node("Unsqueeze", ["k", body.Longs(2)])], OnnxAttribute.Of("perm", [0L, 1, 2, 4, 3]));
        var scores = body.Node("MatMul", [q, k]);

        var length = body.Node("Max", [body.Node("Min", [body.Node("Reshape", ["key_lengths", body.Longs(-1, 1, 1, 1, 1)]), keys]), body.Longs(0)]); // [N, 1, 1, 1, 1]
        var key = body.Count(keys); // [S]
        var query = body.Node("Unsqueeze", [body.Count(queries), body.Longs(1)]); // [T, 1]
        var before = body.Node("Sub", [keys, queries]);
        // Without causality a query sees S keys more than it would with it: all.
        var causal = body.Attribute("value_int", "causal", AttributeProto.Types.AttributeType.Int);
        var more = body.Node("Mul", [body.Node("Sub", [body.Longs(1), causal]), keys]);
        var sight = body.Node("Add", [body.Node("Add", [query, body.Longs(1)]), body.Node("Add", [before, more])]); // [T, 1]
        var real = body.Node("Less", [key, length]); // [N, 1, 1, 1, S]
        var seen = body.Node("And", [body.Node("Less", [key, sight]), real]); // [N, 1, 1, T, S]
        var weights = body.Node("Softmax", [body.Node("Where", [seen, scores, body.Float(Hidden)])], OnnxAttribute.Of("axis", -1));

        // A weight of 0 would not hide a key's NaN.
        var held = body.Node("Transpose", [real], OnnxAttribute.Of("perm", [0L, 1, 2, 4, 3]));
        var v = body.Node("Where", [held, body.Node("Unsqueeze", ["v", body.Longs(2)]), body.Float(0)]);
        var exists = body.Node("And", [body.Node("Less", [query, body.Node("Sub", [length, before])]), body.Node("Greater", [sight, body.Longs(0)])]); // [N, 1, 1, T, 1]
        var y = body.Node("Where", [exists, body.Node("MatMul", [weights, v]), body.Float(0)]);
        body.NodeTo("y", "Reshape", [y, body.Node("Shape", ["q"])]);
        return body.Function();
    }

    private sealed class Body
    {
        private readonly FunctionProto _function = new()
        {
            Name = OpType,
            Domain = Domain,
            Input = { "q", "k", "v", "key_lengths" },
            Output = { "y" },
            Attribute = { Attributes },
            OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 17 } },
            DocString = "Dense attention in the place of block-sparse attention.",
        };

        public FunctionProto Function() => _function;

        public string Node(string opType, IEnumerable<string> inputs, params ReadOnlySpan<AttributeProto> attributes) =>
            NodeTo($"{opType}_{_function.Node.Count}", opType, inputs, attributes);

        public string NodeTo(string output, string opType, IEnumerable<string> inputs, params ReadOnlySpan<AttributeProto> attributes)
        {
            _function.Node.Add(new NodeProto { Name = output, OpType = opType, Input = { inputs }, Output = { output }, Attribute = { attributes.ToArray() } });
            return output;
        }

        public string Size(string value, int axis) => Node("Shape", [value], OnnxAttribute.Of("start", axis), OnnxAttribute.Of("end", axis + 1));

        public string Longs(params long[] values) => Node("Constant", [], OnnxAttribute.Of("value", OnnxTensors.Of("", values, values.Length)));

        public string Float(float value) => Node("Constant", [], OnnxAttribute.Of("value", OnnxTensors.Of("", [value])));

        /// <summary>0, 1, … below a size.</summary>
        public string Count(string size) => Node("Range", [Long(0), Node("Squeeze", [size]), Long(1)]);

        /// <summary>What the node says under a name.</summary>
        public string Attribute(string kind, string name, AttributeProto.Types.AttributeType type) =>
            Node("Constant", [], new AttributeProto { Name = kind, Type = type, RefAttrName = name });

        private string Long(long value) => Node("Constant", [], OnnxAttribute.Of("value", OnnxTensors.Of("", [value])));
    }
}
