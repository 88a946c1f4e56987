using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Compression.Quantization;

/// <summary>The result of quantisation.</summary>
/// <param name="Model">The QDQ model; same inputs, outputs and metadata as the original.</param>
/// <param name="Layers">Layers whose weights are now 8 bits, by node name.</param>
/// <param name="FloatLayers">Layers that kept float weights.</param>
/// <param name="ReduceRange">Whether weights use 7 bits.</param>
public sealed record QuantizedModel(ModelProto Model, IReadOnlyList<string> Layers, IReadOnlyList<string> FloatLayers, bool ReduceRange);

/// <summary>INT8 static quantisation of a float ONNX model. The same model, rows and options give the same bytes.</summary>
public static class StaticQuantizer
{
    /// <summary>DequantizeLinear has an axis, which per-channel weights need, from here on.</summary>
    private const int LeastOpset = 13;

    /// <param name="model">A float model; it is not changed.</param>
    /// <param name="calibration">Rows the model takes, at least one batch; none of them may be test rows.</param>
    /// <param name="options">Choices.</param>
    /// <param name="progress">Told the share of the work that is done and what is next.</param>
    /// <param name="cancelled">Stops between batches.</param>
    /// <exception cref="UnsupportedModelException">The model cannot be quantised.</exception>
    public static QuantizedModel Quantize(ModelProto model, IReadOnlyList<ModelBatch> calibration, QuantizationOptions options, Action<double, string>? progress = null, CancellationToken cancelled = default)
    {
        Check(model, calibration);
        bool Keep(NodeProto node) => node.Name.StartsWith(options.FloatPrefix, StringComparison.Ordinal);
        var reduceRange = options.ReduceRange ?? !CpuFeatures.AddsProductsIn32Bits;

        progress?.Invoke(0, "folding constants and batch normalisation");
        var folded = Fold(model, calibration, Keep, cancelled);
        var editor = new GraphEditor(folded, Keep);
        var before = editor.Editable().Where(n => WeightedLayer.Find(editor, n) is not null).Select(n => n.Name).ToArray();
        var plan = QuantizationPlan.Make(editor, options);

        progress?.Invoke(0.1, $"calibrating {plan.Values.Count} values");
        var calibrator = new Calibrator(folded.Clone(), calibration);
        var ranges = calibrator.Ranges([.. plan.Values.Values.Distinct()], options.Calibration, plan.Given, cancelled);
        var means = options.BiasCorrection
            ? calibrator.Means(plan.Layers.ToDictionary(l => l.Node.Output[0], l => l.OutputAxis), cancelled)
            : null;

        progress?.Invoke(0.5, $"quantising {plan.Layers.Count} layers");
        var layers = new QdqWriter(editor, options, reduceRange).Write(plan, ranges);
        editor.Apply();
        if (means is not null)
            new BiasCorrector(folded, calibration).Run(layers, means, done => progress?.Invoke(0.5 + 0.5 * done / layers.Count, $"corrected the bias of layer {done} of {layers.Count}"), cancelled);
        OnnxModels.Validate(folded);
        var names = plan.Layers.Select(l => l.Node.Name).ToArray();
        return new QuantizedModel(folded, names, [.. before.Except(names)], reduceRange);
    }

    /// <summary>A copy that computes the same in float with fewer nodes: constants and batch normalisation folded, dense layers as Gemm.</summary>
    public static ModelProto Fold(ModelProto model, IReadOnlyList<ModelBatch> calibration, Func<NodeProto, bool> keep, CancellationToken cancelled = default)
    {
        var copy = model.Clone();
        var editor = new GraphEditor(copy, keep);
        OnnxOptimizer.Run(editor, [OnnxOptimizer.ConstantFoldingWith(RuntimeConstants.For(model)), OnnxOptimizer.Identities, OnnxOptimizer.DeadCode]);

        var matMuls = editor.Editable("MatMul").Where(n => WeightedLayer.Find(editor, n) is not null).Select(n => n.Input[0]).Distinct().ToArray();
        var ranks = new Calibrator(copy.Clone(), calibration).Ranks(matMuls, cancelled);
        LinearNormalization.Run(editor, v => ranks.GetValueOrDefault(v));
        OnnxOptimizer.BatchNormFolding.Apply(editor);
        ActivationOrder.Run(editor);
        editor.Sweep();
        editor.Apply();
        return copy;
    }

    private static void Check(ModelProto model, IReadOnlyList<ModelBatch> calibration)
    {
        OnnxModels.Validate(model);
        if (model.Functions.FirstOrDefault(f => (f.Domain, f.Name) != (BlockSparseNode.Domain, BlockSparseNode.OpType)) is { } function)
            throw new UnsupportedModelException($"The model has a local function '{function.Domain}::{function.Name}'; inline it before compressing.");
        if (model.Opset() < LeastOpset)
            throw new UnsupportedModelException($"The model imports ai.onnx {model.Opset()}; INT8 quantisation needs {LeastOpset} or newer. Export it again with a newer operator set.");
        if (model.Graph.Node.FirstOrDefault(IsQuantized) is { } node)
            throw new UnsupportedModelException($"The model is quantised already (node '{node.Name}' is {node.OpType}); compress the float version it came from.");
        if (calibration.Count == 0 || calibration.Sum(b => b.Rows) == 0)
            throw new UnsupportedModelException("There are no calibration rows.");
    }

    private static bool IsQuantized(NodeProto node) =>
        node.OpType is "QuantizeLinear" or "DequantizeLinear" or "DynamicQuantizeLinear" or "ConvInteger" or "MatMulInteger"
        || node.OpType.StartsWith("QLinear", StringComparison.Ordinal) || node.OpType.StartsWith("QGemm", StringComparison.Ordinal);
}
