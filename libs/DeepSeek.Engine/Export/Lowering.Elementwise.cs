using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Export;

internal sealed partial class Lowering
{
    private void AddElementwise()
    {
        foreach (var (name, onnx) in new[]
        {
            ("relu", "Relu"), ("tanh", "Tanh"), ("sigmoid", "Sigmoid"), ("exp", "Exp"), ("log", "Log"), ("sqrt", "Sqrt"), ("abs", "Abs"), ("neg", "Neg"),
        })
        {
            One(name, call => _graph.Node(onnx, [In(call, 0)]));
        }
        foreach (var (name, onnx) in new[] { ("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "Div") })
        {
            One($"{name}.Tensor", call => _graph.Node(onnx, [In(call, 0), In(call, 1)]));
            One($"{name}.Scalar", call => _graph.Node(onnx, [In(call, 0), Scalar(Number(call, 1))]));
        }
        One("silu", call => _graph.Node("Mul", [In(call, 0), _graph.Node("Sigmoid", [In(call, 0)])]));
        One("rsqrt", call => _graph.Node("Reciprocal", [_graph.Node("Sqrt", [In(call, 0)])]));
        One("pow.Tensor_Scalar", call => _graph.Node("Pow", [In(call, 0), Scalar(Number(call, 1))]));
        One("clamp", call => _graph.Node("Clip", [In(call, 0), Scalar(Number(call, 1)), Scalar(Number(call, 2))]));
        One("gelu", call => Has(call, 1) && (string)call.Arguments[1]! == "tanh" ? GeluTanh(In(call, 0)) : Gelu(In(call, 0)));
        One("softmax.int", call => _graph.Node("Softmax", [In(call, 0)], OnnxAttribute.Of("axis", Int(call, 1))));
        One("log_softmax.int", call => _graph.Node("LogSoftmax", [In(call, 0)], OnnxAttribute.Of("axis", Int(call, 1))));
        One("to.dtype", Cast);
        One("detach", call => In(call, 0));
        One("dropout", call => Flag(call, 2) ? throw new NotSupportedException("Dropout in training cannot be exported.") : In(call, 0));
        One("sum", call => _graph.Node("ReduceSum", [In(call, 0)], OnnxAttribute.Of("keepdims", 0)));
        One("mean", call => _graph.Node("ReduceMean", [In(call, 0)], OnnxAttribute.Of("keepdims", 0)));
        One("sum.dim_IntList", call => _graph.Node("ReduceSum", [In(call, 0), Constant(Ints(call, 1))], OnnxAttribute.Of("keepdims", Flag(call, 2) ? 1 : 0)));
        One("mean.dim", call => _graph.Node("ReduceMean", [In(call, 0)], OnnxAttribute.Of("axes", Ints(call, 1)), OnnxAttribute.Of("keepdims", Flag(call, 2) ? 1 : 0)));
    }

    private string Cast(TracedCall call) => Value(call, 0).Dtype == call.Results[0].Dtype
        ? In(call, 0)
        : _graph.Node("Cast", [In(call, 0)], OnnxAttribute.Of("to", (long)(call.Results[0].Dtype switch
        {
            Dtype.Int64 => OnnxType.Int64,
            Dtype.Int32 => OnnxType.Int32,
            Dtype.Bool => OnnxType.Bool,
            Dtype.Float64 => OnnxType.Double,
            // Half precision is a matter of training: graphs compute in float32.
            Dtype.Float32 or Dtype.BFloat16 or Dtype.Float16 => OnnxType.Float,
            var other => throw new NotSupportedException($"A cast to {other} has no ONNX form here."),
        })));

    // Gelu is an operator of its own only from opset 20 on: x/2 · (1 + erf(x/√2)).
    private string Gelu(string x)
    {
        var probability = _graph.Node("Add", [_graph.Node("Erf", [_graph.Node("Div", [x, Scalar(Math.Sqrt(2))])]), Scalar(1)]);
        return _graph.Node("Mul", [_graph.Node("Mul", [x, probability]), Scalar(0.5)]);
    }

    // x/2 · (1 + tanh(√(2/π)·(x + 0.044715 x³))).
    private string GeluTanh(string x)
    {
        var cube = _graph.Node("Mul", [_graph.Node("Pow", [x, Scalar(3)]), Scalar(0.044715)]);
        var inner = _graph.Node("Mul", [_graph.Node("Add", [x, cube]), Scalar(Math.Sqrt(2 / Math.PI))]);
        var share = _graph.Node("Add", [_graph.Node("Tanh", [inner]), Scalar(1)]);
        return _graph.Node("Mul", [_graph.Node("Mul", [x, share]), Scalar(0.5)]);
    }
}
