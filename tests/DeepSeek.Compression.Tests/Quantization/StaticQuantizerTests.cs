using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Graphs;
using DeepSeek.Compression.Quantization;
using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using SessionOptions = Microsoft.ML.OnnxRuntime.SessionOptions;

namespace DeepSeek.Compression.Tests.Quantization;

public sealed class StaticQuantizerTests
{
    private readonly FashionNet _net = FashionNet.Shared;

    [Theory]
    [InlineData(CalibrationMethod.MinMax, true, false, ActivationType.UInt8)]
    [InlineData(CalibrationMethod.Entropy, true, false, ActivationType.UInt8)]
    [InlineData(CalibrationMethod.MinMax, true, true, ActivationType.UInt8)]
    [InlineData(CalibrationMethod.MinMax, false, false, ActivationType.UInt8)]
    [InlineData(CalibrationMethod.MinMax, true, false, ActivationType.Int8)]
    public void Quantize_TrainedConvNet_KeepsItsDecisions(CalibrationMethod method, bool perChannel, bool reduceRange, ActivationType activations)
    {
        var options = new QuantizationOptions { Calibration = method, PerChannel = perChannel, ReduceRange = reduceRange, Activations = activations };
        var quantized = StaticQuantizer.Quantize(_net.Model, _net.Calibration, options);

        var float32 = FashionNet.Rows(_net.Model, "probabilities", _net.Test);
        var int8 = FashionNet.Rows(quantized.Model, "probabilities", _net.Test);

        // The head on random features reaches about 0.85; the platform's own budget is half a point.
        var accuracy = FashionNet.Accuracy(float32, _net.Test.Labels);
        var drop = accuracy - FashionNet.Accuracy(int8, _net.Test.Labels);
        var agreement = FashionNet.Agreement(float32, int8);
        Assert.True(accuracy > 0.82, $"float accuracy {accuracy}");
        Assert.True(drop <= 0.005, $"drop {drop} from {accuracy}");
        Assert.True(agreement >= 0.98, $"agreement {agreement}");
    }

    [Fact]
    public void Quantize_TrainedConvNet_IsThreeAndAHalfTimesSmaller()
    {
        var before = OnnxModels.ToBytes(_net.Model).Length;
        var after = OnnxModels.ToBytes(StaticQuantizer.Quantize(_net.Model, _net.Calibration, new QuantizationOptions()).Model).Length;

        Assert.True(before >= 3.5 * after, $"{before} bytes to {after}: {(double)before / after:F2} times");
    }

    [Fact]
    public void Quantize_SameInput_GivesTheSameBytes()
    {
        var options = new QuantizationOptions { Calibration = CalibrationMethod.Entropy };
        var first = OnnxModels.ToBytes(StaticQuantizer.Quantize(_net.Model, _net.Calibration, options).Model);
        var second = OnnxModels.ToBytes(StaticQuantizer.Quantize(OnnxModels.Load(OnnxModels.ToBytes(_net.Model)), _net.Calibration, options).Model);

        Assert.Equal(first, second);
    }

    [Theory]
    [InlineData(ActivationType.UInt8)]
    [InlineData(ActivationType.Int8)]
    public void Quantize_TrainedConvNet_RunsInEightBitKernels(ActivationType activations)
    {
        var quantized = StaticQuantizer.Quantize(_net.Model, _net.Calibration, new QuantizationOptions { Activations = activations });

        var ops = OptimizedOps(quantized.Model);

        Assert.Equal(2, ops.GetValueOrDefault("QLinearConv"));
        Assert.Equal(2, ops.GetValueOrDefault("QGemm"));
        Assert.Equal(1, ops.GetValueOrDefault("QuantizeLinear")); // the features, once
        Assert.DoesNotContain("Conv", ops.Keys);
        Assert.DoesNotContain("Gemm", ops.Keys);
        Assert.DoesNotContain("BatchNormalization", ops.Keys);
        Assert.DoesNotContain("DequantizeLinear", ops.Keys); // values stay in 8 bits between the layers
        Assert.DoesNotContain("Relu", ops.Keys);
    }

    [Fact]
    public void Quantize_TrainedConvNet_LeavesThePipelineAndTheInterfaceAlone()
    {
        var quantized = StaticQuantizer.Quantize(_net.Model, _net.Calibration, new QuantizationOptions()).Model;

        Assert.Equal(_net.Model.Graph.Input, quantized.Graph.Input);
        Assert.Equal(_net.Model.Graph.Output, quantized.Graph.Output);
        Assert.Equal(_net.Model.MetadataProps, quantized.MetadataProps);
        static NodeProto[] Pipeline(ModelProto m) => [.. m.Graph.Node.Where(n => n.Name.StartsWith("pipeline/", StringComparison.Ordinal))];
        Assert.Equal(Pipeline(_net.Model), Pipeline(quantized));
        using var session = ModelSession.Open(quantized);
        using var results = FashionNet.Batches(_net.Test, 4)[0].Run(session, ["label"]);
        Assert.All(results[0].GetStringTensorAsArray(), label => Assert.Contains(label, FashionMnist.Classes));
    }

    [Fact]
    public void Quantize_ReduceRange_StoresSevenBitWeights()
    {
        var quantized = StaticQuantizer.Quantize(_net.Model, _net.Calibration, new QuantizationOptions { ReduceRange = true });

        Assert.True(quantized.ReduceRange);
        var weights = quantized.Model.Graph.Initializer.Where(t => t.Type() == OnnxType.Int8 && t.Dims.Count > 1).ToArray();
        Assert.Equal(4, weights.Length);
        Assert.All(weights, w => Assert.Equal(64, w.SBytes().Max(v => Math.Abs((int)v))));
        Assert.Equal(!CpuFeatures.AddsProductsIn32Bits, StaticQuantizer.Quantize(_net.Model, _net.Calibration, new QuantizationOptions { BiasCorrection = false }).ReduceRange);
    }

    [Fact]
    public void Quantize_FirstAndLastKept_LeavesThemInFloat()
    {
        var quantized = StaticQuantizer.Quantize(_net.Model, _net.Calibration, new QuantizationOptions { KeepFirst = true, KeepLast = true });

        Assert.Equal(["c1", "Gemm"], quantized.FloatLayers);
        Assert.Equal(["c2", "h"], quantized.Layers);
        var ops = OptimizedOps(quantized.Model);
        Assert.True(ops is { } && ops.GetValueOrDefault("QLinearConv") == 1 && ops.GetValueOrDefault("QGemm") == 1, string.Join(", ", ops));
    }

    [Fact]
    public void Quantize_BiasCorrection_RemovesTheMeanShiftOfEachChannel()
    {
        // Per tensor in 7 bits, so that there is an error to correct.
        var rough = new QuantizationOptions { PerChannel = false, ReduceRange = true, BiasCorrection = false };
        var expected = Means(StaticQuantizer.Fold(_net.Model, _net.Calibration, n => n.Name.StartsWith("pipeline/", StringComparison.Ordinal)));
        var plain = Means(StaticQuantizer.Quantize(_net.Model, _net.Calibration, rough).Model);
        var corrected = Means(StaticQuantizer.Quantize(_net.Model, _net.Calibration, rough with { BiasCorrection = true }).Model);

        var (before, after) = (Shift(plain, expected), Shift(corrected, expected));
        // What is left is rounding of the bias to its 32-bit grid and of the ReLU's corner: two orders below.
        Assert.True(after < before / 20 && after < 1e-3, $"largest shift of a logit's mean {before} → {after}");

        double[] Means(ModelProto model) => new Calibrator(model, _net.Calibration).Means(new Dictionary<string, int> { ["logits"] = -1 })["logits"];
        static double Shift(double[] a, double[] b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max();
    }

    internal static Dictionary<string, int> OptimizedOps(ModelProto model)
    {
        var path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.onnx");
        try
        {
            using var options = new SessionOptions { GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_EXTENDED, OptimizedModelFilePath = path, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
            using (new InferenceSession(OnnxModels.ToBytes(model), options))
                return ModelProto.Parser.ParseFrom(File.ReadAllBytes(path)).Graph.Node.GroupBy(n => n.OpType).ToDictionary(g => g.Key, g => g.Count());
        }
        finally
        {
            File.Delete(path);
        }
    }
}
