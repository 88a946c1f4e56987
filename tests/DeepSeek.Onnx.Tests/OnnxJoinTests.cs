using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;

namespace DeepSeek.Onnx.Tests;

public sealed class OnnxJoinTests
{
    [Fact]
    public void Join_PipelineAndNet_ComputesTheSameAsOneAfterTheOther()
    {
        var model = OnnxModels.Join(Pipeline(), Net(), Features, "pipeline/");

        var y = OnnxGraphTests.Run(model, "logits", ("raw", new DenseTensor<double>(new[] { 3.0, double.NaN }, [2, 1])));

        // NaN is imputed by 1; (3 − 1)/2 = 1, (1 − 1)/2 = 0; then 10·f + 1
        Assert.Equal([11f, 1f], y);
        Assert.Equal(["raw"], model.Graph.Input.Select(i => i.Name));
        Assert.Equal(["logits"], model.Graph.Output.Select(o => o.Name));
        Assert.Contains(model.Graph.Node, n => n.Output.Contains("features"));
        Assert.All(model.Graph.Node.TakeWhile(n => !n.Input.Contains("features")), n => Assert.StartsWith("pipeline/", n.Name));
        Assert.Equal("kept", model.Metadata("deepseek.test"));
        Assert.Equal(17, model.Opset());
    }

    [Fact]
    public void Join_SameInnerNames_DoNotClash()
    {
        var second = Net();
        second.Graph.Initializer[0].Name = "mean";
        second.Graph.Node[0].Input[1] = "mean";

        var model = OnnxModels.Join(Pipeline(), second, Features, "pipeline/");

        Assert.Contains(model.Graph.Initializer, t => t.Name == "pipeline/mean");
        Assert.Contains(model.Graph.Initializer, t => t.Name == "mean");
    }

    [Fact]
    public void Join_ColumnNamedAsTheNetsWeights_RenamesTheWeights()
    {
        var first = new OnnxGraph("columns");
        first.NodeTo("features", "Cast", [first.Input("w", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (int)OnnxType.Float));
        first.Output("features", OnnxType.Float, "N", 1);

        var model = OnnxModels.Join(first.ToModel(), Net(), Features, "pipeline/");

        Assert.Equal(["w"], model.Graph.Input.Select(i => i.Name));
        Assert.Equal([31f], OnnxGraphTests.Run(model, "logits", ("w", new DenseTensor<double>(new[] { 3.0 }, [1, 1]))));
    }

    [Fact]
    public void Join_ColumnNamedAsAnOutput_IsRefused()
    {
        var first = new OnnxGraph("columns");
        first.NodeTo("features", "Cast", [first.Input("logits", OnnxType.Double, "N", 1)], OnnxAttribute.Of("to", (int)OnnxType.Float));
        first.Output("features", OnnxType.Float, "N", 1);

        var e = Assert.Throws<InvalidOnnxException>(() => OnnxModels.Join(first.ToModel(), Net(), Features, "pipeline/"));
        Assert.Contains("'logits' is a value of the first model and an input or output of the second", e.Message);
    }

    [Fact]
    public void Join_OutputThatIsAnInput_PassesThrough()
    {
        var first = new OnnxGraph("pass");
        first.Input("features", OnnxType.Float, "N", 1);
        first.NodeTo("other", "Relu", ["features"]);
        first.Output("other", OnnxType.Float, "N", 1);
        first.Output("features", OnnxType.Float, "N", 1);
        var second = Net();
        second.Graph.Input[0].Name = "f";
        second.Graph.Node[0].Input[0] = "f";

        var model = OnnxModels.Join(first.ToModel(), second, new Dictionary<string, string> { ["features"] = "f" }, "p/");

        Assert.Equal([21f], OnnxGraphTests.Run(model, "logits", ("features", new DenseTensor<float>(new[] { 2f }, [1, 1]))));
    }

    [Fact]
    public void Join_NetWithALocalFunction_KeepsIt()
    {
        var net = Net();
        net.Functions.Add(BlockSparseNode.DenseFunction());
        net.OpsetImport.Add(new OperatorSetIdProto { Domain = BlockSparseNode.Domain, Version = 1 });

        var model = OnnxModels.Join(Pipeline(), net, Features, "pipeline/");

        Assert.Equal(BlockSparseNode.DenseFunction(), Assert.Single(model.Functions));
        Assert.Equal(1, model.Opset(BlockSparseNode.Domain));
    }

    [Fact]
    public void Join_TwoFunctionsOfOneName_IsRefusedWhereTheyDiffer()
    {
        var (pipeline, net) = (Pipeline(), Net());
        foreach (var model in new[] { pipeline, net })
        {
            model.Functions.Add(BlockSparseNode.DenseFunction());
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = BlockSparseNode.Domain, Version = 1 });
        }

        Assert.Single(OnnxModels.Join(pipeline, net, Features, "pipeline/").Functions);
        net.Functions[0].Node.RemoveAt(net.Functions[0].Node.Count - 1);

        var fault = Assert.Throws<InvalidOnnxException>(() => OnnxModels.Join(pipeline, net, Features, "pipeline/"));
        Assert.Contains("ai.deepseek::BlockSparseAttention", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Join_UnknownOutput_NamesTheOutputsThereAre()
    {
        var e = Assert.Throws<InvalidOnnxException>(() =>
            OnnxModels.Join(Pipeline(), Net(), new Dictionary<string, string> { ["feature"] = "features" }, "p/"));
        Assert.Contains("no output 'feature'; it has 'features'", e.Message);
    }

    [Fact]
    public void Join_DifferentOpsets_IsRefused()
    {
        var second = Net();
        second.OpsetImport[0].Version = 16;

        var e = Assert.Throws<InvalidOnnxException>(() => OnnxModels.Join(Pipeline(), second, Features, "p/"));
        Assert.Contains("versions 17 and 16 of operator domain 'ai.onnx'", e.Message);
    }

    private static readonly Dictionary<string, string> Features = new() { ["features"] = "features" };

    private static ModelProto Pipeline()
    {
        var graph = new OnnxGraph("pipeline").Metadata("deepseek.test", "kept");
        graph.Input("raw", OnnxType.Double, "N", 1);
        var missing = graph.Node("IsNaN", ["raw"]);
        var filled = graph.Node("Where", [missing, graph.Scalar("fill", 1.0), "raw"]);
        var centred = graph.Node("Sub", [filled, graph.Scalar("mean", 1.0)]);
        var scaled = graph.Node("Div", [centred, graph.Scalar("scale", 2.0)]);
        graph.NodeTo("features", "Cast", [scaled], OnnxAttribute.Of("to", (int)OnnxType.Float));
        graph.Output("features", OnnxType.Float, "N", 1);
        return graph.ToModel();
    }

    private static ModelProto Net()
    {
        var graph = new OnnxGraph("net");
        graph.Input("features", OnnxType.Float, "N", 1);
        graph.NodeTo("logits", "Gemm", ["features", graph.Initializer(OnnxTensors.Of("w", [10f], 1, 1)), graph.Scalar("b", 1f)]);
        graph.Output("logits", OnnxType.Float, "N", 1);
        return graph.ToModel();
    }
}
