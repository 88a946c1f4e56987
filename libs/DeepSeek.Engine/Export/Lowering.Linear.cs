using DeepSeek.Onnx;

namespace DeepSeek.Engine.Export;

internal sealed partial class Lowering
{
    private void AddLinear()
    {
        One("matmul", call => _graph.Node("MatMul", [In(call, 0), In(call, 1)]));
        One("addmm", call => _graph.Node("Gemm", [In(call, 1), In(call, 2), In(call, 0)]));
        One("linear", Linear);
        One("embedding", call => _graph.Node("Gather", [In(call, 0), In(call, 1)], OnnxAttribute.Of("axis", 0)));
        One("layer_norm", LayerNorm);
        One("batch_norm", BatchNorm);
        One("group_norm", GroupNorm);
    }

    private string Linear(TracedCall call)
    {
        if (Value(call, 0).Sizes.Length == 2)
        {
            return _graph.Node("Gemm", Has(call, 2) ? [In(call, 0), In(call, 1), In(call, 2)] : [In(call, 0), In(call, 1)], OnnxAttribute.Of("transB", 1));
        }
        var product = _graph.Node("MatMul", [In(call, 0), _graph.Node("Transpose", [In(call, 1)], OnnxAttribute.Of("perm", [1L, 0]))]);
        return Has(call, 2) ? _graph.Node("Add", [product, In(call, 2)]) : product;
    }

    private string LayerNorm(TracedCall call) => _graph.Node("LayerNormalization",
        Has(call, 3) ? [In(call, 0), In(call, 2), In(call, 3)] : [In(call, 0), In(call, 2)],
        OnnxAttribute.Of("axis", -Ints(call, 1).Length), OnnxAttribute.Of("epsilon", (float)Number(call, 4)));

    private string BatchNorm(TracedCall call) => _graph.Node("BatchNormalization",
        [In(call, 0), In(call, 1), In(call, 2), In(call, 3), In(call, 4)], OnnxAttribute.Of("epsilon", (float)Number(call, 7)));

    // Each group is a channel for an instance normalisation; scale and shift come after.
    private string GroupNorm(TracedCall call)
    {
        var (x, groups) = (Value(call, 0), Int(call, 1));
        var flat = _graph.Node("Reshape", [In(call, 0), Constant(0, groups, -1)]);
        float[] ones = [.. Enumerable.Repeat(1f, (int)groups)];
        var normed = _graph.Node("InstanceNormalization",
            [flat, _graph.Initializer(OnnxTensors.Of("ones", ones, groups)), _graph.Initializer(OnnxTensors.Of("zeros", new float[groups], groups))],
            OnnxAttribute.Of("epsilon", (float)Number(call, 4)));
        var sizes = Enumerable.Range(0, x.Sizes.Length).Select(d => SizeOf(0, d)).ToArray();
        var back = _graph.Node("Reshape", [normed, ReshapeTarget(sizes, d => d == 0)]);
        long[] channel = [x.Sizes[1], .. Enumerable.Repeat(1L, x.Sizes.Length - 2)];
        var scale = _graph.Initializer(OnnxTensors.Of("scale", Floats(Value(call, 2)), channel));
        var shift = _graph.Initializer(OnnxTensors.Of("shift", Floats(Value(call, 3)), channel));
        return _graph.Node("Add", [_graph.Node("Mul", [back, scale]), shift]);
    }
}
