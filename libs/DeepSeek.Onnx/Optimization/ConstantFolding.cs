using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>Computes a node from constants, null for an input that is left out; null where it cannot. Results should stay below a number of bytes.</summary>
public delegate TensorProto? ConstantRule(NodeProto node, IReadOnlyList<TensorProto?> inputs, long limit);

internal static class ConstantFolding
{
    /// <summary>A node that makes more bytes than this and its inputs have stays a node, so that folding never makes a file grow without bound.</summary>
    private const long MaxGrowth = 1 << 20;

    internal static int Apply(GraphEditor editor, ConstantRule? more)
    {
        var folded = 0;
        foreach (var node in editor.Editable())
        {
            if (node.Output.Count != 1 || editor.IsPinned(node.Output[0]) || node.InnerGraphs().Any()
                || node.Input.Any(i => i.Length > 0 && editor.Constant(i) is null))
            {
                continue;
            }
            TensorProto?[] inputs = [.. node.Input.Select(i => i.Length == 0 ? null : editor.Constant(i))];
            var limit = MaxGrowth + inputs.Sum(i => i?.CalculateSize() ?? 0L);
            if ((ConstantEvaluator.Run(node, inputs, limit) ?? more?.Invoke(node, inputs, limit)) is not { } result || result.CalculateSize() > limit && node.OpType != "Constant")
            {
                continue;
            }
            // The weight's own name stays recognisable: a transposed weight is called as the weight.
            result.Name = node.Input.Count > 0 ? node.Input[0] + "/" + node.OpType.ToLowerInvariant() : node.Output[0];
            editor.ReplaceUses(node.Output[0], editor.AddConstant(result));
            editor.Remove(node);
            folded++;
        }
        return folded;
    }
}
