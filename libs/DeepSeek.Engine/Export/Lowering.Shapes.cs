using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Export;

internal sealed partial class Lowering
{
    private void AddShapes()
    {
        One("reshape", Reshape);
        One("flatten.using_ints", call => Int(call, 1) == 1
            ? _graph.Node("Flatten", [In(call, 0)], OnnxAttribute.Of("axis", 1))
            : Value(call, 0).Sizes.Length == Int(call, 1) + 1 ? In(call, 0)
            : _graph.Node("Reshape", [In(call, 0), Constant([.. Enumerable.Repeat(0L, (int)Int(call, 1)), -1])]));
        One("transpose.int", call =>
        {
            var order = Enumerable.Range(0, Value(call, 0).Sizes.Length).Select(i => (long)i).ToArray();
            var (a, b) = (Axis(Int(call, 1), order.Length), Axis(Int(call, 2), order.Length));
            (order[a], order[b]) = (b, a);
            return _graph.Node("Transpose", [In(call, 0)], OnnxAttribute.Of("perm", order));
        });
        One("permute", call => _graph.Node("Transpose", [In(call, 0)], OnnxAttribute.Of("perm", Ints(call, 1).Select(d => Axis(d, Value(call, 0).Sizes.Length)))));
        One("unsqueeze", call => _graph.Node("Unsqueeze", [In(call, 0), Constant(Axis(Int(call, 1), Value(call, 0).Sizes.Length + 1))]));
        One("squeeze.dim", call => _graph.Node("Squeeze", [In(call, 0), Constant(Axis(Int(call, 1), Value(call, 0).Sizes.Length))]));
        One("expand", Expand);
        One("narrow", Narrow);
        One("index_select", call => _graph.Node("Gather", [In(call, 0), In(call, 2)], OnnxAttribute.Of("axis", Int(call, 1))));
        One("cat", call => _graph.Node("Concat", [.. ((TracedValue[])call.Arguments[0]!).Select(Name)], OnnxAttribute.Of("axis", Int(call, 1))));
        One("constant_pad_nd", Pad);
        One("new_full", call => _graph.Node("ConstantOfShape", [Vector([.. Ints(call, 1).Select((_, i) => Sized(1, i))])],
            OnnxAttribute.Of("value", OnnxTensors.Of("", [(float)Number(call, 2)], 1))));
        One("triu", call => _graph.Node("Trilu", [In(call, 0), _graph.Scalar("diagonal", Int(call, 1))], OnnxAttribute.Of("upper", 1)));
        _rules["split_with_sizes"] = Split;
    }

    private string Reshape(TracedCall call)
    {
        var sizes = call.Results[0].Sizes.Select((_, d) => Across(r => r.Trace.Calls[_index].Results[0].Sizes[d])).ToArray();
        var rank = Value(call, 0).Sizes.Length;
        return _graph.Node("Reshape", [In(call, 0), ReshapeTarget(sizes, d => d < rank && sizes[d].SameAs(SizeOf(0, d)))]);
    }

    /// <summary>Sizes for a Reshape: 0 for open ones that the input has in the same place, -1 for one other open one, computed beyond that.</summary>
    private string ReshapeTarget(SymbolicSize[] sizes, Func<int, bool> kept)
    {
        var open = Enumerable.Range(0, sizes.Length).Where(d => !sizes[d].Fixed && !kept(d)).ToArray();
        return open.Length <= 1
            ? Constant([.. sizes.Select((s, d) => s.Fixed ? s.First : kept(d) ? 0 : -1)])
            : Vector(sizes);
    }

    private string Expand(TracedCall call)
    {
        var result = call.Results[0].Sizes;
        var added = result.Length - Value(call, 0).Sizes.Length;
        // A 1 keeps the size that is there.
        var one = Across(_ => 1);
        var sizes = result.Select((_, d) => Across(r => r.Trace.Calls[_index].Results[0].Sizes[d])).Select((s, d) => d >= added && s.SameAs(SizeOf(0, d - added)) ? one : s).ToArray();
        return _graph.Node("Expand", [In(call, 0), Vector(sizes)]);
    }

    private string Narrow(TracedCall call)
    {
        var (axis, length) = ((int)Axis(Int(call, 1), Value(call, 0).Sizes.Length), Sized(3));
        if (length.SameAs(SizeOf(0, axis)))
        {
            return In(call, 0);
        }
        var start = Sized(2);
        var end = start.Fixed ? Vector(start.Plus(length)) : _graph.Node("Add", [Vector(start), Vector(length)]);
        return _graph.Node("Slice", [In(call, 0), Vector(start), end, Constant(axis)]);
    }

    private string Pad(TracedCall call)
    {
        var (widths, rank) = (Ints(call, 1), Value(call, 0).Sizes.Length);
        var pads = new long[2 * rank];
        for (var i = 0; i < widths.Length / 2; i++)
        {
            (pads[rank - 1 - i], pads[2 * rank - 1 - i]) = (widths[2 * i], widths[2 * i + 1]);
        }
        return _graph.Node("Pad", [In(call, 0), Constant(pads), Scalar(Number(call, 2))]);
    }

    private void Split(TracedCall call)
    {
        var names = call.Results.Select(_ => _graph.Unique("part")).ToArray();
        _graph.NodesOf("Split", [In(call, 0), Constant(Ints(call, 1))], names, OnnxAttribute.Of("axis", Int(call, 2)));
        for (var i = 0; i < names.Length; i++)
        {
            _names[call.Results[i]] = names[i];
        }
    }
}
