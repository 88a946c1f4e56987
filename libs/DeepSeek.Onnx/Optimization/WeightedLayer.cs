using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>A Conv, ConvTranspose (of one group), Gemm or MatMul whose weights are a constant float tensor.</summary>
/// <param name="Node">The node.</param>
/// <param name="Weight">Conv [M, C/group, k…]; ConvTranspose [C, M, k…]; Gemm and MatMul [K, N], or [N, K] with transB.</param>
/// <param name="Axis">The axis of <paramref name="Weight"/> that counts output channels.</param>
/// <param name="Bias">[channels], or null when there is none.</param>
public sealed record WeightedLayer(NodeProto Node, TensorProto Weight, int Axis, TensorProto? Bias)
{
    public int Channels => (int)Weight.Dims[Axis];

    /// <summary>The axis of the output that counts channels: 1 for convolutions, the last for the others.</summary>
    public int OutputAxis => Node.OpType is "Conv" or "ConvTranspose" ? 1 : -1;

    public static WeightedLayer? Find(GraphEditor editor, NodeProto node)
    {
        if (node.Domain.Length > 0 || node.OpType is not ("Conv" or "ConvTranspose" or "Gemm" or "MatMul") || node.Input.Count < 2
            || editor.Constant(node.Input[1]) is not { } weight || weight.Type() != OnnxType.Float || weight.Count() == 0)
            return null;
        var bias = node.Input.Count > 2 && node.Input[2].Length > 0 ? editor.Constant(node.Input[2]) : null;
        if (node.Input.Count > 2 && node.Input[2].Length > 0 && (bias is null || bias.Type() != OnnxType.Float))
            return null;
        return node.OpType switch
        {
            "Conv" when weight.Dims.Count is >= 3 and <= 5 => new WeightedLayer(node, weight, 0, bias),
            "ConvTranspose" when weight.Dims.Count is >= 3 and <= 5 && node.Int("group", 1) == 1 => new WeightedLayer(node, weight, 1, bias),
            "Gemm" when weight.Dims.Count == 2 && node.Int("transA", 0) == 0 => new WeightedLayer(node, weight, node.Int("transB", 0) == 1 ? 0 : 1, bias),
            "MatMul" when weight.Dims.Count == 2 => new WeightedLayer(node, weight, 1, null),
            _ => null,
        };
    }

    /// <summary>Whether the output is x·W + b with one bias per channel: no MatMul, and no Gemm with factors or a bias of another shape.</summary>
    public bool IsAffine => Node.OpType switch
    {
        "MatMul" => false,
        "Gemm" => Node.Float("alpha", 1) == 1 && Node.Float("beta", 1) == 1 && (Bias is null || (Bias.Count() == Channels && Bias.Dims[^1] == Channels)),
        _ => true,
    };

    /// <summary>Elements after one step along the channel axis; a weight of flat index i belongs to channel i / stride mod channels.</summary>
    public int Stride => (int)OnnxShapes.Count(Weight.Dims.Skip(Axis + 1));
}
