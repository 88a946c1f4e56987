using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>y·s + t with s = γ/√(σ² + ε), t = β - μ·s, worked into the weights of the layer that makes y.</summary>
internal static class BatchNormFolding
{
    internal static int Apply(GraphEditor graph) => graph.Nodes.Count(n => n is { OpType: "BatchNormalization", Domain: "" } && Fold(graph, n));

    private static bool Fold(GraphEditor graph, NodeProto norm)
    {
        var layer = graph.Producer(norm.Input[0]);
        if (layer is not { OpType: "Conv" or "ConvTranspose" or "Gemm", Domain: "" } || graph.OnlyReader(norm.Input[0], "BatchNormalization") != norm || norm.Int("training_mode", 0) != 0)
        {
            return false;
        }
        var values = norm.Input.Skip(1).Select(graph.Constant).ToArray();
        var bias = layer.Input.Count > 2 && layer.Input[2].Length > 0 ? graph.Constant(layer.Input[2]) : null;
        if (values.Any(v => v is null || v.Type() != OnnxType.Float) || graph.Constant(layer.Input[1]) is not { } weight || weight.Type() != OnnxType.Float
            || (bias is null && layer.Input.Count > 2 && layer.Input[2].Length > 0) || OutputAxis(layer) is not { } axis)
        {
            return false;
        }
        var (gamma, beta, mean, variance) = (values[0]!.Floats(), values[1]!.Floats(), values[2]!.Floats(), values[3]!.Floats());
        var epsilon = norm.Float("epsilon", 1e-5f);
        double[] scale = [.. gamma.Select((g, c) => g / Math.Sqrt(variance[c] + epsilon))];
        var old = bias?.Floats() ?? new float[gamma.Length];
        if (old.Length != gamma.Length)
        {
            return false;
        }
        float[] shift = [.. old.Select((b, c) => (float)((b - mean[c]) * scale[c] + beta[c]))];
        var data = weight.Floats();
        var inner = weight.Dims.Skip(axis + 1).Aggregate(1L, (a, b) => a * b);
        for (var i = 0L; i < data.Length; i++)
        {
            data[i] = (float)(data[i] * scale[i / inner % gamma.Length]);
        }
        graph.SetInput(layer, 1, graph.Add(OnnxTensors.Of(weight.Name + "/folded", data, [.. weight.Dims])));
        var folded = graph.Add(OnnxTensors.Of((bias?.Name ?? weight.Name + "/bias") + "/folded", shift, shift.Length));
        while (layer.Input.Count < 3)
        {
            layer.Input.Add("");
        }
        graph.SetInput(layer, 2, folded);
        graph.Remove(norm);
        graph.Rename(layer, norm.Input[0], norm.Output[0]);
        return true;
    }

    /// <summary>The weight's dimension of output channels; null where there is no plain one.</summary>
    private static int? OutputAxis(NodeProto layer) => layer.OpType switch
    {
        "Conv" => 0,
        "ConvTranspose" => layer.Int("group", 1) == 1 ? 1 : null,
        _ => layer.Float("alpha", 1) == 1 && layer.Float("beta", 1) == 1 ? layer.Int("transB", 0) == 1 ? 0 : 1 : null,
    };
}
