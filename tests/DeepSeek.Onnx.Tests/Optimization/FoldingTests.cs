using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Onnx.Tests.Optimization;

public sealed class FoldingTests
{
    [Fact]
    public void DeadCode_UnusedBranch_GoesWithItsConstants()
    {
        var graph = Graph(out var x, 2, 3);
        graph.Node("Exp", [graph.Node("Add", [x, graph.Initializer(OptimizedGraph.Drawn("unused", 3))])]);

        var model = OptimizedGraph.Check(Done(graph, graph.Node("Neg", [x])), 4, 2, OnnxOptimizer.DeadCode);

        Assert.Empty(model.Graph.Initializer);
    }

    [Fact]
    public void DeadCode_ValueReadTwiceByAnUnusedNode_GoesToo()
    {
        var graph = Graph(out var x, 2, 3);
        var e = graph.Node("Exp", [x]);
        graph.Node("Mul", [e, e]);

        OptimizedGraph.Check(Done(graph, graph.Node("Neg", [x])), 4, 2, OnnxOptimizer.DeadCode);
    }

    [Theory]
    [InlineData("arithmetic")]
    [InlineData("neutral")]
    [InlineData("layer")]
    [InlineData("norm")]
    public void Optimize_InitializerThatIsAnInputToo_StaysOpenToCallers(string place)
    {
        var graph = Graph(out var x, 3, 4, 5);
        var weight = graph.Initializer(OptimizedGraph.Drawn("w", 6, 4, 2));
        var y = graph.Node("Conv", [x, weight]);
        var norm = Norm(graph, y);
        var result = place switch
        {
            "arithmetic" => graph.Node("Mul", [x, graph.Node("Neg", [graph.Scalar("default", 2f)])]),
            "neutral" => graph.Node("Mul", [x, graph.Scalar("default", 1f)]),
            _ => norm,
        };
        var model = Done(graph, result);
        var open = place switch { "layer" => weight, "norm" => "gamma", _ => "default" };
        var tensor = model.Graph.Initializer.Single(t => t.Name == open);
        model.Graph.Input.Add(OnnxShapes.ValueInfo(open, OnnxType.Float, [.. tensor.Dims.Select(d => (OnnxDim)d)]));
        model = OnnxOptimizer.Run(model, [OnnxOptimizer.DeadCode]).Model;

        // The check gives every input other values than its default.
        var optimized = OptimizedGraph.Check(model, model.Graph.Node.Count, model.Graph.Node.Count, [.. OnnxOptimizer.ForOnnxRuntime.Except([OnnxOptimizer.Identities])]);

        Assert.Contains(optimized.Graph.Initializer, t => t.Name == open);
        OptimizedGraph.Check(model, model.Graph.Node.Count, model.Graph.Node.Count - 1, OnnxOptimizer.Identities); // the node that names the output
    }

    [Fact]
    public void Optimize_KeptNodes_StayAsTheyAre()
    {
        var graph = Graph(out var x, 3, 4, 5);
        var y = graph.Node("Conv", [graph.Node("Mul", [x, graph.Scalar("one", 1f)]), graph.Initializer(OptimizedGraph.Drawn("w", 6, 4, 2))]);
        var model = Done(graph, graph.Node("Add", [Norm(graph, y), graph.Node("Neg", [graph.Scalar("c", 2f)])]));
        var before = model.Clone();

        var reports = OnnxOptimizer.Run(new GraphEditor(model, _ => true), OnnxOptimizer.ForOnnxRuntime);

        Assert.Equal(before, model);
        Assert.All(reports, r => Assert.Equal(0, r.Rewrites));
    }

    [Theory]
    [InlineData(true, 3, 2)]
    [InlineData(false, 3, 1)]
    public void Identities_DropoutThatTrains_IsLeft(bool training, int before, int after)
    {
        var graph = Graph(out var x, 2, 3);
        var dropped = graph.Node("Dropout", [graph.Node("Neg", [x]), graph.Scalar("ratio", 0f), graph.Initializer(OnnxTensors.Of("training", [training]))]);

        OptimizedGraph.Check(Done(graph, dropped), before, after, OnnxOptimizer.Identities);
    }

    [Fact]
    public void Identities_NodesThatHandOn_GoAndTheOutputKeepsItsName()
    {
        var graph = Graph(out var x, 2, 3);
        var twice = graph.Node("Transpose", [graph.Node("Transpose", [x], Perm(1, 0))], Perm(1, 0));
        var same = graph.Node("Add", [graph.Node("Mul", [graph.Node("Neg", [twice]), graph.Scalar("one", 1f)]), graph.Scalar("zero", 0f)]);

        var model = OptimizedGraph.Check(Done(graph, graph.Node("Dropout", [same])), 7, 1, OnnxOptimizer.Identities, OnnxOptimizer.DeadCode);

        Assert.Equal("y", model.Graph.Node.Single().Output.Single());
    }

    [Fact]
    public void Identities_TranspositionsAndReshapesInARow_BecomeOne()
    {
        var graph = Graph(out var x, 2, 3, 4);
        var turned = graph.Node("Transpose", [graph.Node("Transpose", [x], Perm(1, 2, 0))], Perm(2, 1, 0));
        var flat = graph.Node("Reshape", [turned, Shape(graph, -1)]);

        OptimizedGraph.Check(Done(graph, graph.Node("Reshape", [flat, Shape(graph, 6, 4)])), 5, 2, OnnxOptimizer.Identities, OnnxOptimizer.DeadCode);
    }

    public static TheoryData<string, int> Constants => new()
    {
        { "arithmetic", 6 }, { "transpose", 1 }, { "reshape", 2 }, { "gather", 1 }, { "slice", 1 }, { "concat", 1 }, { "filled triangle", 3 }, { "sizes", 4 }, { "cast", 2 }, { "constant", 1 }, { "constant numbers", 1 },
    };

    [Theory]
    [MemberData(nameof(Constants))]
    public void ConstantFolding_ConstantPart_IsComputedAsByOnnxRuntime(string name, int nodes)
    {
        var graph = Graph(out var x, 1);
        var c = graph.Initializer(OptimizedGraph.Drawn("c", 2, 3, 4));
        var part = name switch
        {
            "arithmetic" => graph.Node("Reciprocal", [graph.Node("Sqrt", [graph.Node("Sub", [graph.Node("Div", [graph.Node("Mul", [c, c]), graph.Initializer(OptimizedGraph.Drawn("row", 3, 1))]),
                graph.Node("Neg", [graph.Scalar("far", 2000f)])])])]),
            "transpose" => graph.Node("Transpose", [c], Perm(2, 0, 1)),
            "reshape" => graph.Node("Unsqueeze", [graph.Node("Reshape", [c, Shape(graph, 0, -1)]), Shape(graph, 0, -1)]),
            "gather" => graph.Node("Gather", [c, graph.Initializer(OnnxTensors.Of("places", [1L, -3, 0, 2], 2, 2))], OnnxAttribute.Of("axis", 1)),
            "slice" => graph.Node("Slice", [c, Shape(graph, 0, -3), Shape(graph, 1, 1000), Shape(graph, 0, 2)]),
            "concat" => graph.Node("Concat", [c, graph.Initializer(OptimizedGraph.Drawn("other", 2, 1, 4))], OnnxAttribute.Of("axis", -2)),
            "filled triangle" => graph.Node("Trilu", [graph.Node("ConstantOfShape", [graph.Node("Shape", [c], OnnxAttribute.Of("start", 1))],
                OnnxAttribute.Of("value", OnnxTensors.Of("", [2.5f], 1))), graph.Scalar("diagonal", 1L)], OnnxAttribute.Of("upper", 0)),
            "sizes" => graph.Node("Reshape", [c, graph.Node("Concat", [graph.Node("Shape", [c], OnnxAttribute.Of("end", 1)), graph.Node("Squeeze", [graph.Initializer(OnnxTensors.Of("rest", [-1L], 1, 1)), Shape(graph, 0)])],
                OnnxAttribute.Of("axis", 0))]),
            "cast" => graph.Node("Cast", [graph.Node("Cast", [c], OnnxAttribute.Of("to", (long)OnnxType.Int64))], OnnxAttribute.Of("to", (long)OnnxType.Float)),
            "constant numbers" => graph.Node("Constant", [], OnnxAttribute.Of("value_floats", [1.5f, -2])),
            _ => graph.Node("Constant", [], OnnxAttribute.Of("value", OptimizedGraph.Drawn("", 2, 2))),
        };

        // What stays: the sum with the input, and the node that names the output.
        OptimizedGraph.Check(Done(graph, graph.Node("Add", [x, part])), nodes + 2, 2, OnnxOptimizer.ConstantFolding);
    }

    [Fact]
    public void ConstantFolding_LargeFilledTensor_StaysANode()
    {
        var graph = Graph(out var x, 1);
        var filled = graph.Node("ConstantOfShape", [Shape(graph, 1024, 1024)]);

        OptimizedGraph.Check(Done(graph, graph.Node("Add", [x, graph.Node("ReduceSum", [filled], OnnxAttribute.Of("keepdims", 0))])), 4, 4, OnnxOptimizer.ConstantFolding);
    }

    [Fact]
    public void ConstantFolding_NodeThatBreaksItsRules_IsLeftToTheRuntime()
    {
        var graph = Graph(out var x, 1);
        var c = graph.Initializer(OptimizedGraph.Drawn("c", 2, 3));
        string[] wrong =
        [
            graph.Node("Gather", [c, graph.Scalar("place", 2L)]), graph.Node("Transpose", [c], Perm(0, 0)), graph.Node("Reshape", [c, Shape(graph, 4, -1, 0, 0)]),
            graph.Node("Concat", [c, graph.Initializer(OptimizedGraph.Drawn("d", 2))], OnnxAttribute.Of("axis", 0)), graph.Node("Squeeze", [c, Shape(graph, 1)]),
            graph.Node("Unsqueeze", [c, c]), graph.Node("Trilu", [graph.Scalar("s", 1f)]), graph.Node("ConstantOfShape", [Shape(graph, -4)]),
        ];
        var model = Done(graph, graph.Node("Sum", [x, .. wrong]));

        var reports = OnnxOptimizer.Run(model, [OnnxOptimizer.ConstantFolding]).Reports;

        Assert.Equal(0, reports.Single().Rewrites);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void BatchNormFolding_InFrontOfALinearLayer_GoesIntoItsWeights(int transposed)
    {
        var graph = Graph(out var x, 3, 6);
        var weight = graph.Initializer(OptimizedGraph.Drawn("w", transposed == 1 ? [4, 6] : [6, 4]));
        var y = graph.Node("Gemm", [Norm(graph, x), weight, graph.Initializer(OptimizedGraph.Drawn("bias", 4))], OnnxAttribute.Of("transB", transposed));

        OptimizedGraph.Check(Done(graph, y), 3, 2, OnnxOptimizer.BatchNormFolding);
    }

    [Fact]
    public void BatchNormFolding_GemmWithFactors_IsLeft()
    {
        var graph = Graph(out var x, 3, 4);
        var y = graph.Node("Gemm", [x, graph.Initializer(OptimizedGraph.Drawn("w", 4, 6))], OnnxAttribute.Of("alpha", 0.5f));

        OptimizedGraph.Check(Done(graph, Norm(graph, y)), 3, 3, OnnxOptimizer.BatchNormFolding);
    }

    [Theory]
    [InlineData("Conv", 1, 1, true)]
    [InlineData("Conv", 2, 2, false)]
    [InlineData("Conv", 3, 1, false)]
    [InlineData("ConvTranspose", 2, 1, true)]
    [InlineData("Gemm", 0, 1, true)]
    [InlineData("Gemm", 0, 0, false)]
    public void BatchNormFolding_BehindALayer_GoesIntoItsWeights(string layer, int dimensions, int form, bool bias)
    {
        long[] sides = [.. Enumerable.Repeat(5L, dimensions)];
        long[] kernel = [.. Enumerable.Repeat(2L, dimensions)];
        var graph = Graph(out var x, [3, 4, .. sides]);
        var weight = graph.Initializer(OptimizedGraph.Drawn("w", layer switch
        {
            "Conv" => [6, 4 / form, .. kernel],
            "ConvTranspose" => [4, 6, .. kernel],
            _ => form == 1 ? [6, 4] : [4, 6],
        }));
        string[] inputs = bias ? [x, weight, graph.Initializer(OptimizedGraph.Drawn("bias", 6))] : [x, weight];
        var y = layer == "Gemm" ? graph.Node(layer, inputs, OnnxAttribute.Of("transB", form)) : graph.Node(layer, inputs, OnnxAttribute.Of("group", layer == "Conv" ? form : 1));

        var model = OptimizedGraph.Check(Done(graph, Norm(graph, y)), 3, 1, OnnxOptimizer.BatchNormFolding, OnnxOptimizer.Identities, OnnxOptimizer.DeadCode);

        Assert.Equal(2, model.Graph.Initializer.Count);
    }

    [Fact]
    public void BatchNormFolding_LayerThatOthersReadToo_IsLeft()
    {
        var graph = Graph(out var x, 3, 4, 5);
        var y = graph.Node("Conv", [x, graph.Initializer(OptimizedGraph.Drawn("w", 6, 4, 2))]);

        OptimizedGraph.Check(Done(graph, graph.Node("Add", [y, Norm(graph, y)])), 4, 4, OnnxOptimizer.BatchNormFolding);
    }

    private static string Norm(OnnxGraph graph, string x) => graph.Node("BatchNormalization",
        [
            x, graph.Initializer(OptimizedGraph.Drawn("gamma", 6)), graph.Initializer(OptimizedGraph.Drawn("be", 6)), graph.Initializer(OptimizedGraph.Drawn("mean", 6)),
            graph.Initializer(OnnxTensors.Of("variance", [0.5f, 1, 2, 3, 0.1f, 4], 6)),
        ], OnnxAttribute.Of("epsilon", 1e-3f));

    private static AttributeProto Perm(params long[] order) => OnnxAttribute.Of("perm", order);

    private static string Shape(OnnxGraph graph, params long[] sizes) => graph.Initializer(OnnxTensors.Of("sizes", sizes, sizes.Length));

    private static OnnxGraph Graph(out string x, params long[] sizes)
    {
        var graph = new OnnxGraph("test");
        x = graph.Input("x", OnnxType.Float, [.. sizes.Select(s => (OnnxDim)s)]);
        return graph;
    }

    private static ModelProto Done(OnnxGraph graph, string output)
    {
        graph.Output(graph.NodeTo("y", "Identity", [output]), OnnxType.Float);
        return graph.ToModel();
    }
}
