using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>
/// Batch normalisation with fixed statistics is y = s·x + t per channel, s = γ/√(σ² + ε), t = β - μ·s. It goes into the layer
/// before it (W' = s·W, b' = s·b + t), or into the dense layers after it (W' = W·diag(s), b' = b + W·t).
/// </summary>
internal static class BatchNormFolding
{
    internal static int Apply(GraphEditor editor) => editor.Editable("BatchNormalization").Count(norm =>
        Affine(editor, norm) is var (s, t) && (IntoProducer(editor, norm, s, t) || IntoConsumers(editor, norm, s, t)));

    private static (double[] S, double[] T)? Affine(GraphEditor editor, NodeProto norm)
    {
        if (norm.Int("training_mode", 0) != 0 || norm.Output.Skip(1).Any(o => o.Length > 0 && (editor.IsPinned(o) || editor.Consumers(o).Count > 0)))
            return null;
        var parts = norm.Input.Skip(1).Take(4).Select(i => editor.Constant(i) is { } c && c.Type() == OnnxType.Float ? c.Floats() : null).ToArray();
        if (parts is not [{ } scale, { } shift, { } mean, { } variance] || parts.Any(p => p!.Length != scale.Length))
            return null;
        var epsilon = norm.Float("epsilon", 1e-5f);
        var s = scale.Zip(variance, (g, v) => g / Math.Sqrt((double)v + epsilon)).ToArray();
        var t = s.Select((si, i) => shift[i] - mean[i] * si).ToArray();
        return (s, t);
    }

    private static bool IntoProducer(GraphEditor editor, NodeProto norm, double[] s, double[] t)
    {
        if (editor.Producer(norm.Input[0]) is not { } producer || editor.Keeps(producer) || !editor.HasSingleUse(norm.Input[0])
            || WeightedLayer.Find(editor, producer) is not { IsAffine: true } layer || layer.Channels != s.Length)
            return false;
        var (stride, channels) = (layer.Stride, layer.Channels);
        var weights = layer.Weight.Floats().Select((w, i) => (float)(w * s[i / stride % channels])).ToArray();
        var bias = Bias(layer).Select((b, m) => (float)(b * s[m] + t[m])).ToArray();
        Set(editor, layer, weights, bias);
        var output = norm.Output[0];
        editor.Remove(norm);
        editor.SetOutput(producer, output);
        return true;
    }

    private static bool IntoConsumers(GraphEditor editor, NodeProto norm, double[] s, double[] t)
    {
        var output = norm.Output[0];
        if (editor.IsPinned(output))
            return false;
        var layers = editor.Consumers(output).Select(c => !editor.Keeps(c) && c.Input[0] == output && c.Input.Count(i => i == output) == 1 ? WeightedLayer.Find(editor, c) : null).ToArray();
        if (layers.Length == 0 || layers.Any(l => l is not { Node.OpType: "Gemm", IsAffine: true } || l.Weight.Count() != (long)l.Channels * s.Length))
            return false;
        foreach (var layer in layers.OfType<WeightedLayer>())
        {
            var weights = layer.Weight.Floats();
            var bias = Bias(layer);
            var n = layer.Channels;
            for (var i = 0; i < weights.Length; i++)
            {
                // [K, N] when axis is 1, [N, K] when it is 0
                var (k, channel) = layer.Axis == 1 ? (i / n, i % n) : (i % s.Length, i / s.Length);
                bias[channel] += weights[i] * t[k];
                weights[i] = (float)(weights[i] * s[k]);
            }
            Set(editor, layer, weights, [.. bias.Select(b => (float)b)]);
        }
        editor.ReplaceUses(output, norm.Input[0]);
        editor.Remove(norm);
        return true;
    }

    private static double[] Bias(WeightedLayer layer) => layer.Bias?.Floats().Select(b => (double)b).ToArray() ?? new double[layer.Channels];

    /// <summary>New tensors, because others may share the old ones.</summary>
    private static void Set(GraphEditor editor, WeightedLayer layer, float[] weights, float[] bias)
    {
        editor.SetInput(layer.Node, 1, editor.AddConstant(OnnxTensors.Of(layer.Weight.Name + "/bn", weights, [.. layer.Weight.Dims])));
        editor.SetInput(layer.Node, 2, editor.AddConstant(OnnxTensors.Of((layer.Bias?.Name ?? layer.Node.Name + "/bias") + "/bn", bias, layer.Channels)));
    }
}
