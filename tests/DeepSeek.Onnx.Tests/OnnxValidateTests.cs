using DeepSeek.Onnx;
using Google.Protobuf;
using Onnx;

namespace DeepSeek.Onnx.Tests;

public sealed class OnnxValidateTests
{
    [Fact]
    public void Validate_GoodModel_Passes() => OnnxModels.Validate(Model());

    public static TheoryData<string, Action<ModelProto>, string> Faults => new()
    {
        { "external data", m => External(m.Graph.Initializer[0], "../../etc/passwd"), "outside the model (location '../../etc/passwd')" },
        { "external flag only", m => m.Graph.Initializer[0].DataLocation = TensorProto.Types.DataLocation.External, "outside the model" },
        { "external data in an attribute", m => External(Constant(m), "/dev/zero"), "outside the model (location '/dev/zero')" },
        { "external data in a subgraph", m => External(Subgraph(m).Initializer[0], "x.bin"), "outside the model (location 'x.bin')" },
        { "unknown domain", m => m.OpsetImport.Add(new OperatorSetIdProto { Domain = "evil.ops", Version = 1 }), "domain 'evil.ops' is not supported" },
        { "platform's domain in a version to come", m => m.OpsetImport.Add(new OperatorSetIdProto { Domain = "ai.deepseek", Version = 2 }), "Version 2 of operator domain 'ai.deepseek' is not supported" },
        { "domain not imported", m => m.Graph.Node[0].Domain = "ai.onnx.ml", "which the model does not import" },
        { "opset too new", m => m.OpsetImport[0].Version = 99, "Version 99 of operator domain 'ai.onnx' is not supported; export with a version from 7 to 21" },
        { "opset too old", m => m.OpsetImport[0].Version = 1, "Version 1 of operator domain" },
        { "no opset", m => m.OpsetImport.Clear(), "imports no operator set" },
        { "IR version", m => m.IrVersion = 1000, "IR version 1000" },
        { "no graph", m => m.Graph = null, "holds no graph" },
        { "negative dimension", m => m.Graph.Initializer[0].Dims[0] = -1, "initializer 'w' has a bad shape. A dimension is negative (-1)" },
        { "overflowing shape", m => m.Graph.Initializer[0].Dims.Add([long.MaxValue, long.MaxValue]), "overflows" },
        { "data too short", m => m.Graph.Initializer[0].Dims[0] = 1000, "holds 4 bytes; its shape [1000, 1] of Float needs 4000" },
        { "input nothing makes", m => m.Graph.Node[0].Input[0] = "ghost", "reads 'ghost', which nothing before it makes" },
        { "cycle", m => m.Graph.Node[0].Input[0] = "y", "reads 'y', which nothing before it makes" },
        { "output nothing makes", m => m.Graph.Output[0].Name = "ghost", "Output 'ghost' of graph 'g' is made by no node" },
        { "name taken", m => m.Graph.Node[0].Output[0] = "x", "makes 'x', a name that is taken" },
        { "two initializers of a name", m => m.Graph.Initializer.Add(m.Graph.Initializer[0].Clone()), "its name 'w' is used twice" },
        { "training graphs", m => m.TrainingInfo.Add(new TrainingInfoProto()), "training graphs" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Validate_BadModel_NamesTheFault(string fault, Action<ModelProto> breakIt, string expected)
    {
        var model = Model();
        breakIt(model);

        var e = Assert.Throws<InvalidOnnxException>(() => OnnxModels.Validate(model));
        Assert.True(e.Message.Contains(expected, StringComparison.Ordinal), $"{fault}: {e.Message}");
    }

    [Fact]
    public void Load_MoreBytesThanTheLimit_StopsReading()
    {
        var bytes = OnnxModels.ToBytes(Model());
        var limits = new OnnxLimits { MaxBytes = bytes.Length - 1 };

        Assert.Contains("larger than the limit", Assert.Throws<InvalidOnnxException>(() => OnnxModels.Load(bytes, limits)).Message);
        using var endless = new EndlessStream();
        Assert.Contains("larger than the limit", Assert.Throws<InvalidOnnxException>(() => OnnxModels.Load(endless, limits)).Message);
        Assert.True(endless.Handed < 1 << 20);
    }

    [Fact]
    public void Load_NoModel_IsRefused()
    {
        Assert.Throws<InvalidOnnxException>(() => OnnxModels.Load("<html>not a model</html>"u8.ToArray()));
        Assert.Throws<InvalidOnnxException>(() => OnnxModels.Load([]));
        var cut = OnnxModels.ToBytes(Model())[..^7];
        Assert.Throws<InvalidOnnxException>(() => OnnxModels.Load(cut));
    }

    [Fact]
    public void Load_DeeplyNestedGraphs_IsRefusedWithoutOverflowingTheStack()
    {
        var graph = new GraphProto { Name = "leaf" };
        for (var i = 0; i < 100; i++)
            graph = new GraphProto { Node = { new NodeProto { OpType = "If", Attribute = { new AttributeProto { Name = "then_branch", G = graph } } } } };

        Assert.Throws<InvalidOnnxException>(() => OnnxModels.Load(new ModelProto { IrVersion = 8, Graph = graph }.ToByteArray()));
    }

    private static ModelProto Model()
    {
        var graph = new OnnxGraph("g");
        graph.Input("x", OnnxType.Float, "N", 1);
        graph.NodeTo("h", "MatMul", ["x", graph.Initializer(OnnxTensors.Of("w", [2f], 1, 1))]);
        graph.NodeTo("y", "Relu", ["h"]);
        graph.Output("y", OnnxType.Float, "N", 1);
        return graph.ToModel();
    }

    private static void External(TensorProto tensor, string location)
    {
        tensor.RawData = ByteString.Empty;
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = location });
    }

    private static TensorProto Constant(ModelProto model)
    {
        var node = new NodeProto { Name = "c", OpType = "Constant", Output = { "c" }, Attribute = { OnnxAttribute.Of("value", OnnxTensors.Of("c", [1f], 1)) } };
        model.Graph.Node.Add(node);
        return node.Attribute[0].T;
    }

    private static GraphProto Subgraph(ModelProto model)
    {
        var inner = new GraphProto
        {
            Name = "inner",
            Initializer = { OnnxTensors.Of("k", [1f], 1) },
            Node = { new NodeProto { OpType = "Identity", Input = { "k" }, Output = { "o" } } },
            Output = { OnnxShapes.ValueInfo("o", OnnxType.Float, 1) },
        };
        model.Graph.Node.Add(new NodeProto { Name = "if", OpType = "If", Input = { "x" }, Output = { "z" }, Attribute = { OnnxAttribute.Of("then_branch", inner) } });
        return inner;
    }

    /// <summary>A raw_data field that claims 2 GiB and goes on for ever.</summary>
    private sealed class EndlessStream : Stream
    {
        private int _position;
        private static readonly byte[] Head = [0x12, 0xff, 0xff, 0xff, 0x7f];

        public long Handed { get; private set; }
        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            for (var i = 0; i < count; i++)
                buffer[offset + i] = _position < Head.Length ? Head[_position++] : (byte)'a';
            Handed += count;
            return count;
        }

        public override void Flush() => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
