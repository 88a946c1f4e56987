using DeepSeek.Compression.Graphs;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Compression.Quantization;

/// <summary>
/// Which layers run in 8 bits and which values get 8-bit forms:
/// 1. Layers are the Conv, Gemm and MatMul nodes with constant weights outside the pipeline, less the excluded ones.
/// 2. Their inputs are quantised.
/// 3. Upwards from such a value, an operator that ONNX Runtime can run in 8 bits has its inputs quantised too, so that values
///    stay in 8 bits from layer to layer; a value that a float operator makes is quantised where it is read.
/// 4. A ReLU or Clip right after a quantised operator becomes part of it: only its output is quantised.
/// 5. A Conv's output is quantised in any case, because its 8-bit kernel has no float output, and so is that of a dense layer
///    which ONNX Runtime would rather fuse with the activation after it in float.
/// </summary>
public sealed class QuantizationPlan
{
    /// <summary>These keep the stored numbers, so input and output share one scale.</summary>
    private static readonly HashSet<string> SameScale = ["MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"];

    private static readonly HashSet<string> Quantizable = ["Conv", "Gemm", "MatMul"];

    private static readonly HashSet<string> Arithmetic = ["Add", "AveragePool", "GlobalAveragePool", "Concat", "LeakyRelu"];

    /// <summary>What ONNX Runtime fuses into a float Gemm.</summary>
    private static readonly HashSet<string> GemmActivations =
        ["Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "Selu", "Softplus", "Softsign", "ThresholdedRelu", "ScaledTanh", "ParametricSoftplus"];

    private readonly GraphEditor _editor;
    private readonly HashSet<NodeProto> _layers = [];
    private readonly OrderedDictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly HashSet<string> _given = new(StringComparer.Ordinal);

    private QuantizationPlan(GraphEditor editor) => _editor = editor;

    public required IReadOnlyList<WeightedLayer> Layers { get; init; }

    /// <summary>Quantised values that the net does not make itself: what the pipeline or the caller gives.</summary>
    public IReadOnlySet<string> Given => _given;

    /// <summary>Quantised values → the value whose range gives their scale.</summary>
    public IReadOnlyDictionary<string, string> Values => _values;

    public static QuantizationPlan Make(GraphEditor editor, QuantizationOptions options)
    {
        var layers = GraphOrder.Sort(editor.Nodes).Where(n => !editor.Keeps(n) && Quantizable.Contains(n.OpType)).Select(n => WeightedLayer.Find(editor, n)).OfType<WeightedLayer>()
            .Where(l => editor.Constant(l.Node.Input[0]) is null).ToList();
        if (layers.Count == 0)
            throw new UnsupportedModelException($"The model has no Conv, Gemm or MatMul with constant float32 weights outside '{options.FloatPrefix}'; INT8 quantisation would change nothing.");
        if (options.KeepLast)
            layers.RemoveAt(layers.Count - 1);
        if (options.KeepFirst && layers.Count > 0)
            layers.RemoveAt(0);
        if (layers.Count == 0)
            throw new UnsupportedModelException("With the first and the last layer kept in float no layer is left to quantise; drop keepFirst or keepLast.");
        var plan = new QuantizationPlan(editor) { Layers = layers };
        plan._layers.UnionWith(layers.Select(l => l.Node));
        foreach (var layer in layers)
            plan.Need(layer.Node.Input[0]);
        foreach (var layer in layers.Where(l => l.Node.OpType == "Conv" || plan.WouldFuseInFloat(l.Node)))
            plan.Need(plan.AfterActivation(layer.Node));
        return plan;
    }

    private void Need(string value)
    {
        if (_values.ContainsKey(value))
            return;
        _values[value] = value;
        var producer = _editor.Producer(value);
        if (producer is null || _editor.Keeps(producer))
            _given.Add(value);
        if (producer is null || producer.Domain.Length > 0 || _editor.Keeps(producer))
            return;
        if (IsFusedActivation(producer, out var inner))
            producer = inner;
        if (_layers.Contains(producer))
            return;
        if (SameScale.Contains(producer.OpType) && producer.Output.Count == 1)
        {
            Need(producer.Input[0]);
            _values[value] = _values[producer.Input[0]];
        }
        else if (Arithmetic.Contains(producer.OpType) && producer.Input.All(i => i.Length > 0 && _editor.Constant(i) is null))
        {
            foreach (var input in producer.Input)
                Need(input);
        }
    }

    private bool WouldFuseInFloat(NodeProto node) =>
        _editor.HasSingleUse(node.Output[0]) && _editor.Consumers(node.Output[0]) is [var next] && GemmActivations.Contains(next.OpType);

    /// <summary>The value that stands for a layer's output: after its ReLU or Clip when it has one.</summary>
    private string AfterActivation(NodeProto node) =>
        _editor.HasSingleUse(node.Output[0]) && _editor.Consumers(node.Output[0]) is [var next] && IsFusedActivation(next, out _) ? next.Output[0] : node.Output[0];

    private bool IsFusedActivation(NodeProto node, out NodeProto producer)
    {
        producer = null!;
        if (node.OpType is not ("Relu" or "Clip") || node.Domain.Length > 0 || _editor.Keeps(node) || !_editor.HasSingleUse(node.Input[0]))
            return false;
        if (node.OpType == "Clip" && !(node.Input.Count == 3 && _editor.Constant(node.Input[1])?.Floats() is [0f]))
            return false;
        producer = _editor.Producer(node.Input[0])!;
        return producer is not null && !_editor.Keeps(producer) && (_layers.Contains(producer) || (producer.Domain.Length == 0 && producer.OpType == "Add"));
    }
}
