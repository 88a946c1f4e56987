using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Export;

internal sealed partial class Lowering
{
    private void AddRecurrent() => _rules["lstm.input"] = Lstm;

    // ONNX knows one layer at a time over [T, N, ..], with gates in the order i, o, f, c where libtorch has i, f, c, o.
    private void Lstm(TracedCall call)
    {
        var states = (TracedValue[])call.Arguments[1]!;
        if (states.Any(s => s.Producer is not { Name: "new_full" } made || Number(made, 2) != 0))
        {
            throw new NotSupportedException("An LSTM is exported from zero states only.");
        }
        var weights = (TracedValue[])call.Arguments[2]!;
        var directions = Flag(call, 7) ? 2 : 1;
        var hidden = weights[1].Sizes[1];
        var x = _graph.Node("Transpose", [In(call, 0)], OnnxAttribute.Of("perm", [1L, 0, 2])); // [T, N, in]
        for (var layer = 0; layer < Int(call, 4); layer++)
        {
            var part = weights.AsSpan(4 * directions * layer, 4 * directions).ToArray();
            var y = _graph.Unique("states");
            _graph.NodesOf("LSTM", [x, Gates("input", 0, 1), Gates("recurrent", 1, 1), Gates("bias", 2, 2)], [y],
                OnnxAttribute.Of("hidden_size", hidden), OnnxAttribute.Of("direction", directions == 2 ? "bidirectional" : "forward"));
            // [T, directions, N, hidden] → [T, N, directions·hidden]
            x = _graph.Node("Reshape", [_graph.Node("Transpose", [y], OnnxAttribute.Of("perm", [0L, 2, 1, 3])), Constant(0, 0, directions * hidden)]);

            // The tensors at `first`, and `count` of them, of each direction: [directions, 4·hidden·count, ..].
            string Gates(string name, int first, int count)
            {
                float[] data = [.. Enumerable.Range(0, directions).SelectMany(d => Enumerable.Range(first, count).SelectMany(i => Reordered(part[4 * d + i])))];
                var rows = 4 * hidden * count;
                var columns = data.Length / (directions * rows);
                return _graph.Initializer(count == 2 ? OnnxTensors.Of(name, data, directions, rows) : OnnxTensors.Of(name, data, directions, rows, columns));
            }
        }
        _names[call.Results[0]] = _graph.Node("Transpose", [x], OnnxAttribute.Of("perm", [1L, 0, 2]));
    }

    private static IEnumerable<float> Reordered(TracedValue weight)
    {
        var values = Floats(weight);
        var gate = values.Length / 4;
        return new[] { 0, 3, 1, 2 }.SelectMany(g => values.AsSpan(g * gate, gate).ToArray());
    }
}
