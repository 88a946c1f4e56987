using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace DeepSeek.Compression.Graphs;

/// <summary>Computes nodes on constants in ONNX Runtime: every operator, for models that come from anywhere.</summary>
public static class RuntimeConstants
{
    private static readonly HashSet<string> Random =
        ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"];

    /// <summary>The rule for nodes of a model.</summary>
    public static ConstantRule For(ModelProto model) => (node, inputs, _) => Random.Contains(node.OpType) ? null : Run(model, node, inputs);

    private static TensorProto? Run(ModelProto model, NodeProto node, IReadOnlyList<TensorProto?> inputs)
    {
        var part = new ModelProto { IrVersion = model.IrVersion, OpsetImport = { model.OpsetImport }, Functions = { model.Functions }, Graph = new GraphProto { Name = "constant", Node = { node } } };
        part.Graph.Initializer.Add(inputs.OfType<TensorProto>().DistinctBy(t => t.Name));
        part.Graph.Output.Add(new ValueInfoProto { Name = node.Output[0] });
        using var session = ModelSession.Open(part, GraphOptimizationLevel.ORT_DISABLE_ALL);
        using var results = new ModelBatch(0, []).Run(session, [node.Output[0]]);
        return results[0].IsTensor ? ToTensor(results[0]) : null;
    }

    private static TensorProto? ToTensor(OrtValue value)
    {
        var info = value.GetTensorTypeAndShape();
        var dims = info.Shape;
        return (OnnxType)(int)info.ElementDataType switch
        {
            OnnxType.Float => OnnxTensors.Of("", value.GetTensorDataAsSpan<float>(), dims),
            OnnxType.Double => OnnxTensors.Of("", value.GetTensorDataAsSpan<double>(), dims),
            OnnxType.Int64 => OnnxTensors.Of("", value.GetTensorDataAsSpan<long>(), dims),
            OnnxType.Int32 => OnnxTensors.Of("", value.GetTensorDataAsSpan<int>(), dims),
            OnnxType.Bool => OnnxTensors.Of("", value.GetTensorDataAsSpan<bool>(), dims),
            OnnxType.Int8 => OnnxTensors.Of("", value.GetTensorDataAsSpan<sbyte>(), dims),
            OnnxType.UInt8 => OnnxTensors.Of("", value.GetTensorDataAsSpan<byte>(), dims),
            _ => null,
        };
    }
}
