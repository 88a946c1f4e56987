using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Onnx.Tests.Optimization;

public sealed class FusionTests
{
    [Theory]
    [InlineData(false, 17, "com.microsoft", "Gelu")]
    [InlineData(true, 17, "com.microsoft", "FastGelu")]
    [InlineData(false, 20, "", "Gelu")]
    [InlineData(true, 20, "", "Gelu")]
    public void Gelu_InItsParts_BecomesOneNode(bool tanh, long opset, string domain, string type)
    {
        var graph = new OnnxGraph("gelu", opset, opset >= 20 ? 9 : 8);
        var x = graph.Input("x", OnnxType.Float, "N", 5);
        var f = tanh
            ? graph.Node("Tanh", [graph.Node("Mul", [graph.Scalar("c", MathF.Sqrt(2 / MathF.PI)), graph.Node("Add", [graph.Node("Mul", [graph.Node("Pow", [x, graph.Scalar("three", 3f)]), graph.Scalar("d", 0.044715f)]), x])])])
            : graph.Node("Erf", [graph.Node("Mul", [x, graph.Scalar("r", MathF.Sqrt(0.5f))])]);
        var half = graph.Node("Mul", [graph.Scalar("half", 0.5f), graph.Node("Mul", [graph.Node("Add", [graph.Scalar("one", 1f), f]), x])]);
        graph.Output(graph.NodeTo("y", "Add", [half, x]), OnnxType.Float);

        var model = OptimizedGraph.Check(graph.ToModel(), tanh ? 9 : 6, 2, OnnxOptimizer.Gelu, OnnxOptimizer.DeadCode);

        Assert.Contains(model.Graph.Node, n => n.Domain == domain && n.OpType == type);
    }

    [Fact]
    public void Gelu_OtherConstant_IsLeft()
    {
        var graph = new OnnxGraph("not gelu");
        var x = graph.Input("x", OnnxType.Float, "N", 5);
        var f = graph.Node("Erf", [graph.Node("Div", [x, graph.Scalar("s", 1.5f)])]);
        graph.Output(graph.NodeTo("y", "Mul", [graph.Node("Mul", [x, graph.Node("Add", [f, graph.Scalar("one", 1f)])]), graph.Scalar("half", 0.5f)]), OnnxType.Float);

        OptimizedGraph.Check(graph.ToModel(), 5, 5, OnnxOptimizer.Gelu);
    }

    // From: Reshape and Transpose of q, k, v, one more of k, scale, product, mask (with its parts), softmax, product, Transpose, Reshape.
    [Theory]
    [InlineData("none", 13, 1)]
    [InlineData("causal", 16, 1)]
    [InlineData("padding", 14, 4)]
    public void Attention_InItsParts_BecomesOneNode(string mask, int before, int after)
    {
        var graph = new OnnxGraph("attention");
        string[] parts = [.. new[] { "q", "k", "v" }.Select(n => graph.Input(n, OnnxType.Float, "N", 4, 6))];
        string[] heads = [.. parts.Select(p => Heads(graph, p))];
        var scaled = graph.Node("Mul", [heads[0], graph.Scalar("scale", 0.6f)]);
        var scores = graph.Node("MatMul", [scaled, graph.Node("Transpose", [heads[1]], OnnxAttribute.Of("perm", [0L, 1, 3, 2]))]);
        scores = mask switch
        {
            "causal" => graph.Node("Add", [scores, graph.Node("Trilu", [graph.Node("ConstantOfShape", [Sizes(graph, 4, 4)],
                OnnxAttribute.Of("value", OnnxTensors.Of("", [float.NegativeInfinity], 1))), graph.Scalar("diagonal", 1L)], OnnxAttribute.Of("upper", 1))]),
            "padding" => graph.Node("Add", [graph.Input("mask", OnnxType.Float, "N", 1, 1, 4), scores]),
            _ => scores,
        };
        var y = graph.Node("MatMul", [graph.Node("Softmax", [scores], OnnxAttribute.Of("axis", -1)), heads[2]]);
        graph.Output(graph.NodeTo("y", "Reshape", [graph.Node("Transpose", [y], OnnxAttribute.Of("perm", [0L, 2, 1, 3])), Sizes(graph, 0, 0, 6)]), OnnxType.Float);

        var model = OptimizedGraph.Check(graph.ToModel(), before, after, OnnxOptimizer.ForOnnxRuntime.ToArray());

        var node = Assert.Single(model.Graph.Node, n => n.OpType == "MultiHeadAttention");
        Assert.Equal((2, mask == "causal" ? 1 : 0, mask == "padding" ? 6 : 3), (node.Int("num_heads", 0), node.Int("unidirectional", 0), node.Input.Count));
    }

    [Fact]
    public void Attention_WeightsThatAreAnOutput_IsLeft()
    {
        var graph = new OnnxGraph("attention");
        string[] heads = [.. new[] { "q", "k", "v" }.Select(n => Heads(graph, graph.Input(n, OnnxType.Float, "N", 4, 6)))];
        var scores = graph.Node("MatMul", [graph.Node("Mul", [heads[0], graph.Scalar("scale", 0.6f)]), graph.Node("Transpose", [heads[1]], OnnxAttribute.Of("perm", [0L, 1, 3, 2]))]);
        graph.NodeTo("weights", "Softmax", [scores], OnnxAttribute.Of("axis", -1));
        var y = graph.Node("Transpose", [graph.Node("MatMul", ["weights", heads[2]])], OnnxAttribute.Of("perm", [0L, 2, 1, 3]));
        graph.Output(graph.NodeTo("y", "Reshape", [y, Sizes(graph, 0, 0, 6)]), OnnxType.Float);
        graph.Output("weights", OnnxType.Float);

        var model = OptimizedGraph.Check(graph.ToModel(), 13, 13, OnnxOptimizer.Attention);

        Assert.DoesNotContain(model.Graph.Node, n => n.OpType == "MultiHeadAttention");
    }

    private static string Heads(OnnxGraph graph, string x) =>
        graph.Node("Transpose", [graph.Node("Reshape", [x, Sizes(graph, 0, 0, 2, 3)])], OnnxAttribute.Of("perm", [0L, 2, 1, 3]));

    private static string Sizes(OnnxGraph graph, params long[] sizes) => graph.Initializer(OnnxTensors.Of("sizes", sizes, sizes.Length));
}
