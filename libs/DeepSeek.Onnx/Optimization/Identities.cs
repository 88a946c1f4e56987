using Onnx;

namespace DeepSeek.Onnx.Optimization;

internal static class Identities
{
    internal static int Apply(GraphEditor editor) => editor.Editable().Count(node => Passes(editor, node) ? Remove(editor, node) : Merge(editor, node));

    /// <summary>Whether the node's output is its first input.</summary>
    private static bool Passes(GraphEditor editor, NodeProto node) => node.Domain.Length == 0 && node.OpType switch
    {
        "Identity" => true,
        "Dropout" => !IsRead(editor, node, 1) && !MayTrain(editor, node),
        "Transpose" => node.Ints("perm") is { } order && order.Select((d, i) => d == i).All(same => same),
        "Concat" => node.Input.Count == 1,
        "Mul" or "Div" => IsScalar(editor, node.Input[1], 1),
        "Add" or "Sub" => IsScalar(editor, node.Input[1], 0),
        _ => false,
    };

    private static bool IsRead(GraphEditor editor, NodeProto node, int output) =>
        node.Output.Count > output && node.Output[output].Length > 0 && (editor.IsPinned(node.Output[output]) || editor.Consumers(node.Output[output]).Count > 0);

    private static bool MayTrain(GraphEditor editor, NodeProto node) =>
        node.Input.Count > 2 && node.Input[2].Length > 0 && !(editor.Constant(node.Input[2]) is { } mode && ConstantTensor.Of(mode).Data is [0]);

    private static bool IsScalar(GraphEditor editor, string value, double number) => editor.Number(value) == number && editor.Constant(value)!.Dims.Count == 0;

    private static bool Remove(GraphEditor editor, NodeProto node)
    {
        var (input, output) = (node.Input[0], node.Output[0]);
        if (editor.Producer(input) is { } producer && !editor.Keeps(producer) && !editor.IsPinned(input))
        {
            // The later name is the one that others know, as "logits".
            editor.Remove(node);
            editor.SetOutput(producer, output, producer.Output.IndexOf(input));
            editor.ReplaceUses(input, output);
            return true;
        }
        if (editor.IsPinned(output))
            return false;
        editor.ReplaceUses(output, input);
        editor.Remove(node);
        return true;
    }

    /// <summary>Two transpositions or two reshapes in a row become one.</summary>
    private static bool Merge(GraphEditor editor, NodeProto node)
    {
        if (node.Domain.Length > 0 || editor.Producer(node.Input.FirstOrDefault() ?? "", node.OpType) is not { } first)
            return false;
        if (node.OpType == "Transpose" && node.Ints("perm") is { } outer && first.Ints("perm") is { } inner)
        {
            node.Attribute.Clear();
            node.Attribute.Add(OnnxAttribute.Of("perm", outer.Select(d => inner[d])));
            editor.SetInput(node, 0, first.Input[0]);
            return true;
        }
        // Zeros in the second shape refer to the first's result.
        if (node.OpType == "Reshape" && editor.Longs(node.Input[1]) is { } shape && !shape.Contains(0))
        {
            editor.SetInput(node, 0, first.Input[0]);
            return true;
        }
        return false;
    }
}
