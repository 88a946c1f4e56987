using DeepSeek.Compression.Calibration;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Compression.Quantization;

/// <summary>A layer after quantisation, as bias correction needs it.</summary>
/// <param name="Output">The float value that the layer's node makes.</param>
/// <param name="ChannelAxis">Axis of the output that counts channels.</param>
/// <param name="Bias">The 32-bit bias, an initializer of the model.</param>
/// <param name="BiasScales">One scale, or one per channel.</param>
public sealed record QuantizedLayer(string Output, int ChannelAxis, TensorProto Bias, float[] BiasScales);

/// <summary>
/// Writes the QDQ form: values go through QuantizeLinear and DequantizeLinear, weights and biases are stored as integers
/// followed by DequantizeLinear. ONNX Runtime turns each operator between them into its 8-bit kernel.
/// </summary>
public sealed class QdqWriter(GraphEditor editor, QuantizationOptions options, bool reduceRange)
{
    private readonly Dictionary<string, QuantParams> _params = new(StringComparer.Ordinal);

    public IReadOnlyList<QuantizedLayer> Write(QuantizationPlan plan, IReadOnlyDictionary<string, TensorRange> ranges)
    {
        foreach (var (value, source) in plan.Values)
            _params[value] = QuantMath.ForActivation(ranges[source], options.Activations);
        // Before the inputs are renamed, because a layer's scale is looked up by its input's name.
        var layers = plan.Layers.Select(l => Layer(l, _params[l.Node.Input[0]].Scale)).ToArray();
        foreach (var value in plan.Values.Keys)
            Activation(value, _params[value]);
        return layers;
    }

    private void Activation(string value, QuantParams p)
    {
        var scale = editor.AddConstant(OnnxTensors.Of(value + "/scale", [p.Scale], []));
        var zero = editor.AddConstant(options.Activations == ActivationType.UInt8
            ? OnnxTensors.Of(value + "/zero", new[] { (byte)p.ZeroPoint }, [])
            : OnnxTensors.Of(value + "/zero", new[] { (sbyte)p.ZeroPoint }, []));
        var (stored, back) = (editor.Unique(value + "/q"), editor.Unique(value + "/dq"));
        editor.ReplaceUses(value, back);
        editor.AddNode("QuantizeLinear", [value, scale, zero], stored);
        editor.AddNode("DequantizeLinear", [stored, scale, zero], back);
    }

    private QuantizedLayer Layer(WeightedLayer layer, float inputScale)
    {
        var node = layer.Node;
        var weight = WeightQuantizer.Quantize(layer, inputScale, options, reduceRange);
        var name = layer.Weight.Name;
        var stored = editor.AddConstant(OnnxTensors.Of(name + "/i8", weight.Values, [.. layer.Weight.Dims]));
        editor.SetInput(node, 1, Dequantized(stored, weight.Scales, new sbyte[weight.Scales.Length], layer.Axis));

        var biasScales = weight.Scales.Select(s => s * inputScale).ToArray();
        var values = layer.Bias?.Floats() ?? new float[layer.Channels];
        var integers = values.Select((b, c) => ToInt32(b, biasScales[biasScales.Length == 1 ? 0 : c])).ToArray();
        var bias = OnnxTensors.Of((layer.Bias?.Name ?? node.Name + "/bias") + "/i32", integers, integers.Length);
        if (node.OpType != "MatMul" && (layer.Bias is not null || options.BiasCorrection))
            editor.SetInput(node, 2, Dequantized(editor.AddConstant(bias), biasScales, null, 0));
        return new QuantizedLayer(node.Output[0], layer.OutputAxis, bias, biasScales);
    }

    private string Dequantized(string stored, float[] scales, sbyte[]? zeros, int axis)
    {
        var perChannel = scales.Length > 1;
        long[] dims = perChannel ? [scales.Length] : [];
        List<string> inputs = [stored, editor.AddConstant(OnnxTensors.Of(stored + "/scale", scales, dims))];
        if (zeros is not null)
            inputs.Add(editor.AddConstant(OnnxTensors.Of(stored + "/zero", zeros, dims)));
        var node = editor.AddNode("DequantizeLinear", inputs, editor.Unique(stored + "/dq"));
        if (perChannel)
            node.Attribute.Add(OnnxAttribute.Of("axis", axis));
        return node.Output[0];
    }

    internal static int ToInt32(double value, float scale) => (int)Math.Clamp(Math.Round(value / scale), int.MinValue, int.MaxValue);
}
