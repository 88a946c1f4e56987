using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;

namespace DeepSeek.Onnx.Tests;

public sealed class OnnxGraphTests
{
    [Fact]
    public void ToModel_LinearGraph_RunsOnOnnxRuntime()
    {
        var graph = new OnnxGraph("linear");
        var x = graph.Input("x", OnnxType.Float, "N", 3);
        var w = graph.Initializer(OnnxTensors.Of("w", [1f, 2f, 3f, 4f, 5f, 6f], 3, 2));
        var b = graph.Initializer(OnnxTensors.Of("b", [0.5f, -0.5f], 2));
        graph.NodeTo("y", "Gemm", [x, w, b], OnnxAttribute.Of("alpha", 2f));
        graph.Output("y", OnnxType.Float, "N", 2);

        var y = Run(graph.ToModel(), "y", ("x", new DenseTensor<float>(new[] { 1f, 1f, 1f, 0f, 1f, 0f }, [2, 3])));

        // 2·[1 1 1]·W + b = 2·[9 12] + b; 2·[0 1 0]·W + b = 2·[3 4] + b
        Assert.Equal([18.5f, 23.5f, 6.5f, 7.5f], y);
    }

    [Fact]
    public void ToModel_EveryTensorKind_ComesBackFromOnnxRuntime()
    {
        var graph = new OnnxGraph("kinds");
        graph.Input("x", OnnxType.Float, "N");
        Emit("f", OnnxTensors.Of("f0", [1.5f, -2f], 2), OnnxType.Float);
        Emit("d", OnnxTensors.Of("d0", [1.5, double.NaN], 2), OnnxType.Double);
        Emit("l", OnnxTensors.Of("l0", [long.MinValue, 3L], 2), OnnxType.Int64);
        Emit("i", OnnxTensors.Of("i0", [int.MaxValue, 3], 2), OnnxType.Int32);
        Emit("sb", OnnxTensors.Of("sb0", new sbyte[] { -128, 127 }, 2), OnnxType.Int8);
        Emit("ub", OnnxTensors.Of("ub0", new byte[] { 0, 255 }, 2), OnnxType.UInt8);
        Emit("b", OnnxTensors.Of("b0", [true, false], 2), OnnxType.Bool);
        Emit("s", OnnxTensors.Of("s0", ["", "Zürich"], 2), OnnxType.String);

        using var session = new InferenceSession(OnnxModels.ToBytes(graph.ToModel()));
        using var results = session.Run([NamedOnnxValue.CreateFromTensor("x", new DenseTensor<float>([1]))]);
        var byName = results.ToDictionary(r => r.Name, r => r.Value);

        Assert.Equal([1.5f, -2f], (IEnumerable<float>)byName["f"]);
        Assert.Equal([1.5, double.NaN], (IEnumerable<double>)byName["d"]);
        Assert.Equal([long.MinValue, 3L], (IEnumerable<long>)byName["l"]);
        Assert.Equal([int.MaxValue, 3], (IEnumerable<int>)byName["i"]);
        Assert.Equal([-128, 127], (IEnumerable<sbyte>)byName["sb"]);
        Assert.Equal([0, 255], (IEnumerable<byte>)byName["ub"]);
        Assert.Equal([true, false], (IEnumerable<bool>)byName["b"]);
        Assert.Equal(["", "Zürich"], (IEnumerable<string>)byName["s"]);

        void Emit(string output, TensorProto tensor, OnnxType type)
        {
            graph.NodeTo(output, "Identity", [graph.Initializer(tensor)]);
            graph.Output(output, type, 2);
        }
    }

    [Fact]
    public void Tensors_RoundTrip_KeepTheirValues()
    {
        Assert.Equal([1f, 2f], OnnxTensors.Of("t", [1f, 2f], 2).Floats());
        Assert.Equal([-5L], OnnxTensors.Of("t", [-5L], 1).Longs());
        Assert.Equal(new sbyte[] { -1 }, OnnxTensors.Of("t", new sbyte[] { -1 }, 1).SBytes());
        Assert.Equal(["a"], OnnxTensors.Of("t", ["a"], 1).Strings());
        Assert.Equal(new sbyte[] { -1 }, new TensorProto { DataType = (int)OnnxType.Int8, Dims = { 1 }, Int32Data = { -1 } }.SBytes());
        Assert.Empty(OnnxTensors.Of("t", Array.Empty<float>(), 0, 3).Floats());
        Assert.Throws<InvalidOnnxException>(() => OnnxTensors.Of("t", [1f], 1).Longs());
        Assert.Throws<ArgumentException>(() => OnnxTensors.Of("t", [1f, 2f], 3));
    }

    [Fact]
    public void Names_Repeated_BecomeUnique()
    {
        var graph = new OnnxGraph("names");
        graph.Input("x", OnnxType.Float, 1);

        Assert.Equal("Relu", graph.Node("Relu", ["x"]));
        Assert.Equal("Relu_1", graph.Node("Relu", ["x"]));
        Assert.Equal("x_1", graph.Initializer(OnnxTensors.Of("x", [1f], 1)));
        Assert.Throws<ArgumentException>(() => graph.NodeTo("x", "Relu", ["x"]));
    }

    [Fact]
    public void ToModel_MlDomainOperators_Run()
    {
        var graph = new OnnxGraph("labels").Import(OnnxGraph.MlDomain, 3);
        graph.Input("x", OnnxType.String, "N", 1);
        var coded = graph.MlNode("LabelEncoder", ["x"], OnnxAttribute.Of("keys_strings", ["a", "b"]),
            OnnxAttribute.Of("values_floats", [1f, 2f]), OnnxAttribute.Of("default_float", -1f));
        graph.NodeTo("y", "Identity", [coded]);
        graph.Output("y", OnnxType.Float, "N", 1);

        Assert.Equal([2f, -1f], Run(graph.ToModel(), "y", ("x", new DenseTensor<string>(new[] { "b", "?" }, [2, 1]))));
    }

    internal static float[] Run<T>(ModelProto model, string output, params (string Name, DenseTensor<T> Value)[] inputs)
    {
        using var session = new InferenceSession(OnnxModels.ToBytes(model));
        using var results = session.Run([.. inputs.Select(i => NamedOnnxValue.CreateFromTensor(i.Name, i.Value))], [output]);
        return [.. results.Single().AsEnumerable<float>()];
    }
}
