using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Compression.Graphs;

/// <summary>
/// Writes every dense layer as Gemm with alpha = beta = 1 and a bias of one value per output, the form that ONNX Runtime
/// turns into its 8-bit kernel and whose bias can be corrected.
/// </summary>
public static class LinearNormalization
{
    /// <param name="editor">The graph.</param>
    /// <param name="rank">Rank of a value as seen in a run; Gemm takes matrices only.</param>
    public static void Run(GraphEditor editor, Func<string, int> rank)
    {
        foreach (var node in editor.Editable("MatMul", "Gemm"))
        {
            if (WeightedLayer.Find(editor, node) is not { } layer)
                continue;
            if (node.OpType == "Gemm")
                Normalize(editor, layer);
            else if (rank(node.Input[0]) == 2)
                ToGemm(editor, layer);
        }
    }

    private static void ToGemm(GraphEditor editor, WeightedLayer layer)
    {
        var node = layer.Node;
        node.OpType = "Gemm";
        if (!editor.HasSingleUse(node.Output[0]) || editor.Consumers(node.Output[0]) is not [{ OpType: "Add" } add])
            return;
        var other = add.Input[0] == node.Output[0] ? add.Input[1] : add.Input[0];
        if (other == node.Output[0] || editor.Constant(other) is not { } bias || Vector(bias, layer.Channels) is not { } values)
            return;
        var output = add.Output[0];
        editor.Remove(add);
        editor.SetInput(node, 2, editor.AddConstant(OnnxTensors.Of(other + "/bias", values, layer.Channels)));
        editor.SetOutput(node, output);
    }

    private static void Normalize(GraphEditor editor, WeightedLayer layer)
    {
        var node = layer.Node;
        var (alpha, beta) = (node.Float("alpha", 1), node.Float("beta", 1));
        float[]? bias = null;
        if (layer.Bias is not null)
        {
            bias = Vector(layer.Bias, layer.Channels);
            if (bias is null)
                return; // a bias that differs from row to row
        }
        if (alpha != 1)
            editor.SetInput(node, 1, editor.AddConstant(OnnxTensors.Of(layer.Weight.Name + "/scaled", [.. layer.Weight.Floats().Select(w => w * alpha)], [.. layer.Weight.Dims])));
        if (bias is not null && (beta != 1 || layer.Bias!.Dims.Count != 1 || layer.Bias.Dims[0] != layer.Channels))
            editor.SetInput(node, 2, editor.AddConstant(OnnxTensors.Of(layer.Bias!.Name + "/scaled", [.. bias.Select(b => b * beta)], layer.Channels)));
        foreach (var attribute in node.Attribute.Where(a => a.Name is "alpha" or "beta").ToArray())
            node.Attribute.Remove(attribute);
    }

    /// <summary>The tensor as one value per channel, or null when it varies along another axis.</summary>
    private static float[]? Vector(TensorProto tensor, int channels)
    {
        if (tensor.Type() != OnnxType.Float)
            return null;
        var values = tensor.Floats();
        if (values.Length == 1)
            return [.. Enumerable.Repeat(values[0], channels)];
        return values.Length == channels && tensor.Dims[^1] == channels ? values : null;
    }
}
