using DeepSeek.Compression.Graphs;
using DeepSeek.Compression.Quantization;
using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Compression.Tests.Quantization;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Compression.Tests.Graphs;

public sealed class FoldingTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Fold_ResidualNet_ComputesTheSameWithFewerNodes(bool matMul)
    {
        var model = ResidualNet.Make(matMul);
        var rows = ResidualNet.Rows(64);

        var folded = StaticQuantizer.Fold(model, rows, _ => false);

        var ops = folded.Graph.Node.GroupBy(n => n.OpType).ToDictionary(g => g.Key, g => g.Count());
        Assert.Equal(6, ops["Gemm"]);
        Assert.Equal(2, ops["Add"]); // the residual sums; biases are in the Gemms
        Assert.Equal(1, ops["BatchNormalization"]); // the last one: ReLU stands between it and the head
        Assert.False(ops.ContainsKey("MatMul") || ops.ContainsKey("Dropout"));
        AssertClose(ResidualNet.Run(model, rows), ResidualNet.Run(folded, rows), 2e-5f);
    }

    [Fact]
    public void Fold_BatchNormAfterConv_GoesIntoTheConv()
    {
        var g = new OnnxGraph("g");
        g.Input("features", OnnxType.Float, "N", 2, 5, 5);
        var random = new Random(2);
        float[] Values(int n) => [.. Enumerable.Range(0, n).Select(_ => (float)random.NextDouble() + 0.1f)];
        var conv = g.Node("Conv", ["features", g.Initializer(OnnxTensors.Of("w", Values(3 * 2 * 9), 3, 2, 3, 3))]);
        g.NodeTo("logits", "BatchNormalization", [conv, .. new[] { "gamma", "beta", "mean", "variance" }.Select(n => g.Initializer(OnnxTensors.Of(n, Values(3), 3)))]);
        g.Output("logits", OnnxType.Float);
        var model = g.ToModel();
        IReadOnlyList<ModelBatch> rows = [new ModelBatch(4, [new ModelInput("features", [4, 2, 5, 5], Values(4 * 50))])];

        var folded = StaticQuantizer.Fold(model, rows, _ => false);

        Assert.Equal(["Conv"], folded.Graph.Node.Select(n => n.OpType));
        AssertClose(ResidualNet.Run(model, rows), ResidualNet.Run(folded, rows), 1e-5f);
    }

    [Fact]
    public void Fold_ConstantSubgraph_IsComputedOnce()
    {
        var g = new OnnxGraph("g");
        g.Input("features", OnnxType.Float, "N", 2);
        var transposed = g.Node("Transpose", [g.Initializer(OnnxTensors.Of("w", [1f, 2f, 3f, 4f, 5f, 6f], 3, 2))], OnnxAttribute.Of("perm", [1L, 0L]));
        var scaled = g.Node("Mul", [transposed, g.Node("Constant", [], OnnxAttribute.Of("value", OnnxTensors.Of("two", [2f], 1)))]);
        g.NodeTo("logits", "Gemm", ["features", scaled, g.Scalar("bias", 1f)], OnnxAttribute.Of("alpha", 0.5f), OnnxAttribute.Of("beta", 3f));
        g.Output("logits", OnnxType.Float);
        var rows = (IReadOnlyList<ModelBatch>)[new ModelBatch(1, [new ModelInput("features", [1, 2], new float[] { 1, 10 })])];

        var folded = StaticQuantizer.Fold(g.ToModel(), rows, _ => false);

        var gemm = Assert.Single(folded.Graph.Node);
        Assert.Empty(gemm.Attribute);
        // 0.5 · [1 10] · 2·[[1 3 5] [2 4 6]] + 3
        Assert.Equal([24f, 46f, 68f], ResidualNet.Run(folded, rows));
    }

    [Fact]
    public void Fold_ConstantOfAnOperatorThatOnlyTheRuntimeKnows_IsComputedOnce()
    {
        var g = new OnnxGraph("g");
        g.Input("features", OnnxType.Float, "N", 2);
        var weight = g.Node("Reshape", [g.Node("Max", [g.Initializer(OnnxTensors.Of("w", [1f, -2f, 3f, -4f], 4)), g.Scalar("zero", 0f)]), g.Initializer(OnnxTensors.Of("sizes", [2L, 2], 2))]);
        g.NodeTo("logits", "Gemm", ["features", weight]);
        g.Output("logits", OnnxType.Float);
        var rows = (IReadOnlyList<ModelBatch>)[new ModelBatch(1, [new ModelInput("features", [1, 2], new float[] { 1, 10 })])];

        var folded = StaticQuantizer.Fold(g.ToModel(), rows, _ => false);

        Assert.Single(folded.Graph.Node);
        Assert.Equal([31f, 0f], ResidualNet.Run(folded, rows));
    }

    [Fact]
    public void Fold_SharedWeights_ChangesOnlyTheLayerThatIsNormalised()
    {
        var g = new OnnxGraph("g");
        g.Input("features", OnnxType.Float, "N", 2);
        var w = g.Initializer(OnnxTensors.Of("w", [1f, 0f, 0f, 1f], 2, 2));
        var first = g.Node("Gemm", ["features", w]);
        var normal = g.Node("BatchNormalization", [first, g.Initializer(OnnxTensors.Of("gamma", [2f, 2f], 2)), g.Initializer(OnnxTensors.Of("beta", [0f, 0f], 2)),
            g.Initializer(OnnxTensors.Of("mean", [0f, 0f], 2)), g.Initializer(OnnxTensors.Of("variance", [1f, 1f], 2))], OnnxAttribute.Of("epsilon", 0f));
        g.NodeTo("logits", "Gemm", [g.Node("Relu", [normal]), w]);
        g.Output("logits", OnnxType.Float);
        var rows = (IReadOnlyList<ModelBatch>)[new ModelBatch(1, [new ModelInput("features", [1, 2], new float[] { 3, -1 })])];

        var folded = StaticQuantizer.Fold(g.ToModel(), rows, _ => false);

        Assert.DoesNotContain(folded.Graph.Node, n => n.OpType == "BatchNormalization");
        Assert.Equal([6f, 0f], ResidualNet.Run(folded, rows));
    }

    [Theory]
    [InlineData(false, "Relu")]
    [InlineData(true, "Relu")]
    [InlineData(false, "Tanh")]
    [InlineData(false, "LeakyRelu")]
    public void Quantize_ResidualNet_RunsInEightBitKernelsCloseToFloat(bool matMul, string activation)
    {
        var model = ResidualNet.Make(matMul, activation);
        var rows = ResidualNet.Rows(256);

        var quantized = StaticQuantizer.Quantize(model, rows, new QuantizationOptions());

        var ops = StaticQuantizerTests.OptimizedOps(quantized.Model);
        Assert.True(ops.GetValueOrDefault("QGemm") == 6 && ops.GetValueOrDefault("QLinearAdd") == 1, string.Join(", ", ops));
        Assert.DoesNotContain("Gemm", ops.Keys);
        Assert.Equal(1, ops.GetValueOrDefault("Add")); // in float, because the batch normalisation after it is
        var (expected, actual) = (ResidualNet.Run(model, rows), ResidualNet.Run(quantized.Model, rows));
        var signal = Math.Sqrt(expected.Average(v => v * v));
        var noise = Math.Sqrt(expected.Zip(actual, (e, a) => (e - a) * (e - a)).Average());
        // Eight quantised layers and sums in a row, each adding about 1/255 of its range.
        Assert.True(noise < 0.04 * signal, $"noise {noise}, signal {signal}");
    }

    internal static void AssertClose(float[] expected, float[] actual, float tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), p => Assert.Equal(p.First, p.Second, tolerance * Math.Max(1, Math.Abs(p.First))));
    }
}
