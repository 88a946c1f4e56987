using Onnx;

namespace DeepSeek.Onnx.Optimization;

/// <summary>
/// softmax(s·q·kᵀ + mask)·v, with q, k and v cut into heads by Reshape and Transpose, as one MultiHeadAttention node of com.microsoft. A mask of
/// -∞ above the diagonal becomes the node's own; others are handed on as bias.
/// </summary>
internal static class AttentionFusion
{
    private static readonly long[] s_headsFirst = [0, 2, 1, 3];
    private static readonly long[] s_headsFirstTurned = [0, 2, 3, 1];
    private static readonly long[] s_turned = [0, 1, 3, 2];

    internal static int Apply(GraphEditor graph)
    {
        var masks = new Dictionary<string, string>(StringComparer.Ordinal);
        return graph.Editable("Softmax").Count(n => n.Int("axis", -1) is -1 or 3 && Fuse(graph, n, masks));
    }

    private static bool Fuse(GraphEditor graph, NodeProto softmax, Dictionary<string, string> masks)
    {
        // Behind: weights · v, back to [N, T, H·D].
        if (graph.OnlyConsumer(softmax.Output[0], "MatMul") is not { } weighted || weighted.Input[0] != softmax.Output[0]
            || graph.OnlyConsumer(weighted.Output[0], "Transpose") is not { } back || !IsOrder(back, s_headsFirst)
            || graph.OnlyConsumer(back.Output[0], "Reshape") is not { } joined || graph.Longs(joined.Input[1]) is not { Length: 3 } || graph.Keeps(joined))
        {
            return false;
        }
        // In front: scaled q · kᵀ, perhaps with a mask.
        var scores = graph.Producer(softmax.Input[0], "MatMul");
        string? mask = null;
        if (scores is null && graph.Producer(softmax.Input[0], "Add") is { } masked)
        {
            var first = graph.Producer(masked.Input[0], "MatMul") is null ? 1 : 0;
            (scores, mask) = (graph.Producer(masked.Input[first], "MatMul"), masked.Input[1 - first]);
        }
        if (scores is null || graph.Producer(scores.Input[0], "Mul") is not { } scaled || graph.Number(scaled.Input[1]) is not { } scale
            || graph.Producer(scores.Input[1], "Transpose") is not { } turned || Heads(graph, scaled.Input[0]) is not { } heads)
        {
            return false;
        }
        if (!IsOrder(turned, s_headsFirstTurned) && !IsOrder(turned, s_turned))
        {
            return false;
        }
        var query = Joined(graph, scaled.Input[0]);
        var key = IsOrder(turned, s_turned) ? Joined(graph, turned.Input[0])
            : graph.Producer(turned.Input[0], "Reshape") is { } cut ? cut.Input[0] : Add(graph, "Reshape", [turned.Input[0], Flat(graph)]);
        var value = Joined(graph, weighted.Input[1]);
        var causal = mask is not null && IsCausal(graph, mask);
        var attributes = new List<AttributeProto> { OnnxAttribute.Of("num_heads", heads), OnnxAttribute.Of("scale", (float)scale) };
        List<string> inputs = [query, key, value];
        if (causal)
        {
            attributes.Add(OnnxAttribute.Of("unidirectional", 1));
        }
        else if (mask is not null)
        {
            inputs.AddRange(["", "", Expanded(graph, mask, query, masks)]);
        }
        graph.Import("com.microsoft", 1);
        graph.Become(joined, "MultiHeadAttention", "com.microsoft", [.. inputs], [.. attributes]);
        return true;
    }

    /// <summary>Heads of a value [N, H, T, D]: what the Reshape says that it comes from, through element-wise steps.</summary>
    private static long? Heads(GraphEditor graph, string value)
    {
        for (var steps = 0; steps < 8 && graph.Producer(value) is { Domain: "" } node; steps++, value = node.Input[0])
        {
            if (node.OpType == "Transpose")
            {
                return IsOrder(node, s_headsFirst) && graph.Producer(node.Input[0], "Reshape") is { } cut && graph.Longs(cut.Input[1]) is [_, _, > 0 and var heads, _] ? heads : null;
            }
            if (node.OpType is not ("Add" or "Mul"))
            {
                return null;
            }
        }
        return null;
    }

    /// <summary>[N, H, T, D] as [N, T, H·D]: its source, where it was cut from one, or turned back.</summary>
    private static string Joined(GraphEditor graph, string value)
    {
        if (graph.Producer(value, "Transpose") is { } transposed && IsOrder(transposed, s_headsFirst) && graph.Producer(transposed.Input[0], "Reshape") is { } cut
            && graph.Longs(cut.Input[1]) is [0, 0, _, _])
        {
            return cut.Input[0];
        }
        var rows = Add(graph, "Transpose", [value], OnnxAttribute.Of("perm", s_headsFirst));
        return Add(graph, "Reshape", [rows, Flat(graph)]);
    }

    private static string Add(GraphEditor graph, string opType, IEnumerable<string> inputs, params ReadOnlySpan<AttributeProto> attributes) =>
        graph.AddNode(opType, inputs, graph.Unique("fused/" + opType), attributes).Output[0];

    private static string Flat(GraphEditor graph) => graph.AddConstant(OnnxTensors.Of("sizes", [0L, 0, -1], 3));

    private static bool IsOrder(NodeProto node, long[] order) => node.Ints("perm") is { } given && given.SequenceEqual(order);

    private static bool IsCausal(GraphEditor graph, string mask)
    {
        if (graph.Producer(mask, "Trilu") is { } triangle)
        {
            return triangle.Int("upper", 1) == 1 && graph.Number(triangle.Input[1]) == 1 && graph.Producer(triangle.Input[0], "ConstantOfShape") is { } filled
                && filled.Attribute("value")?.T is { } value && float.IsNegativeInfinity(value.Floats()[0]);
        }
        if (graph.Constant(mask) is not { Dims: [var rows, var columns] } tensor || rows != columns || tensor.Type() != OnnxType.Float)
        {
            return false;
        }
        var values = tensor.Floats();
        return values.Select((v, i) => i % columns > i / columns ? float.IsNegativeInfinity(v) : v == 0).All(same => same);
    }

    /// <summary>The mask with all of its rows, which the node does not repeat by itself: [.., 1, S] → [.., T, S].</summary>
    private static string Expanded(GraphEditor graph, string mask, string query, Dictionary<string, string> masks)
    {
        if (masks.TryGetValue(mask, out var known))
        {
            return known;
        }
        var length = Add(graph, "Shape", [query], OnnxAttribute.Of("start", 1), OnnxAttribute.Of("end", 2));
        var sizes = Add(graph, "Concat",
            [graph.AddConstant(OnnxTensors.Of("sizes", [1L, 1], 2)), length, graph.AddConstant(OnnxTensors.Of("sizes", [1L], 1))], OnnxAttribute.Of("axis", 0));
        return masks[mask] = Add(graph, "Expand", [mask, sizes]);
    }
}
