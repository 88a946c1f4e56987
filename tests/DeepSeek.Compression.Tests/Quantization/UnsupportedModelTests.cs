using DeepSeek.Compression.Graphs;
using DeepSeek.Compression.Quantization;
using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Onnx;
using Google.Protobuf;
using Onnx;

namespace DeepSeek.Compression.Tests.Quantization;

public sealed class UnsupportedModelTests
{
    [Fact]
    public void Quantize_NoLayerWithWeights_IsRefused()
    {
        var g = new OnnxGraph("g");
        g.Input("features", OnnxType.Float, "N", ResidualNet.Inputs);
        g.NodeTo("logits", "Relu", ["features"]);
        g.Output("logits", OnnxType.Float);

        Assert.Contains("no Conv, Gemm or MatMul with constant float32 weights", Refusal(g.ToModel()));
    }

    [Fact]
    public void Quantize_QuantizedModel_IsRefused()
    {
        var once = StaticQuantizer.Quantize(ResidualNet.Make(), ResidualNet.Rows(8), new QuantizationOptions());
        Assert.Contains("quantised already", Refusal(once.Model));
    }

    [Fact]
    public void Quantize_OldOpset_IsRefused()
    {
        var model = ResidualNet.Make();
        model.OpsetImport[0].Version = 12;
        Assert.Contains("ai.onnx 12; INT8 quantisation needs 13 or newer", Refusal(model));
    }

    [Fact]
    public void Quantize_NaNWeight_NamesTheTensor()
    {
        var model = ResidualNet.Make();
        var weight = model.Graph.Initializer.First(t => t.Name == "w");
        var values = weight.Floats();
        values[5] = float.NaN;
        weight.RawData = ByteString.CopyFrom([.. values.SelectMany(BitConverter.GetBytes)]);

        Assert.Contains("'", Refusal(model));
        Assert.Contains("NaN", Refusal(model));
    }

    [Fact]
    public void Quantize_InfiniteActivation_NamesTheValue()
    {
        var rows = ResidualNet.Rows(4);
        ((float[])rows[0].Inputs[0].Values)[3] = float.PositiveInfinity;

        var e = Assert.Throws<UnsupportedModelException>(() => StaticQuantizer.Quantize(ResidualNet.Make(), rows, new QuantizationOptions()));
        Assert.Matches("Value '.*' is .* on a calibration row", e.Message);
    }

    [Fact]
    public void Quantize_NoRows_IsRefused() =>
        Assert.Contains("no calibration rows", Assert.Throws<UnsupportedModelException>(() => StaticQuantizer.Quantize(ResidualNet.Make(), [], new QuantizationOptions())).Message);

    [Fact]
    public void Quantize_EverythingKept_IsRefused()
    {
        var g = new OnnxGraph("g");
        g.Input("features", OnnxType.Float, "N", 2);
        g.NodeTo("logits", "Gemm", ["features", g.Initializer(OnnxTensors.Of("w", [1f, 2f], 2, 1))]);
        g.Output("logits", OnnxType.Float);
        var rows = (IReadOnlyList<ModelBatch>)[new ModelBatch(1, [new ModelInput("features", [1, 2], new float[] { 3, -1 })])];

        var e = Assert.Throws<UnsupportedModelException>(() => StaticQuantizer.Quantize(g.ToModel(), rows, new QuantizationOptions { KeepFirst = true }));
        Assert.Contains("no layer is left", e.Message);
    }

    private static string Refusal(ModelProto model) =>
        Assert.Throws<UnsupportedModelException>(() => StaticQuantizer.Quantize(model, ResidualNet.Rows(8), new QuantizationOptions())).Message;
}
