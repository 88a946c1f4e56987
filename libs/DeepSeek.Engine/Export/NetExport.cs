using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Onnx;

namespace DeepSeek.Engine.Export;

/// <summary>What the net's outputs mean.</summary>
public sealed record NetOutput
{
    /// <summary>Class names in the order of the logits; empty for regression.</summary>
    public IReadOnlyList<string> Classes { get; init; } = [];

    /// <summary>Regression: the prediction is logits · Scale + Offset.</summary>
    public float Scale { get; init; } = 1;

    /// <summary>Regression: see <see cref="Scale"/>.</summary>
    public float Offset { get; init; }
}

/// <summary>
/// Writes a net as ONNX (opset 17): input <c>features</c> [N, ..], inner value <c>logits</c>, outputs <c>label</c> STRING [N] and
/// <c>probabilities</c> FLOAT [N, K], or <c>prediction</c> FLOAT [N, 1].
/// </summary>
public static class NetExport
{
    /// <summary>The only input of a net's graph, the output of a feature pipeline.</summary>
    public const string Features = "features";

    private const string PipelinePrefix = "pipeline/";

    /// <summary>The net alone, with its constants folded and normalisation worked into the layers in front of it.</summary>
    public static ModelProto Write(Module net, IReadOnlyList<long> featureShape, NetOutput output, IReadOnlyDictionary<string, string> metadata)
    {
        var graph = new OnnxGraph("deepseek");
        foreach (var (key, value) in metadata)
        {
            graph.Metadata(key, value);
        }
        var features = new ExportInput(Features, Dtype.Float32, ["N", .. featureShape.Select(d => (OnnxDim)d)]);
        var logits = graph.NodeTo("logits", "Identity", [ModelExport.Add(graph, net, [features], x => net.Forward(x[0]), []).Name]);
        if (output.Classes.Count > 0)
        {
            Classify(graph, logits, output.Classes);
        }
        else
        {
            Regression(graph, logits, output);
        }
        return OnnxOptimizer.Run(graph.ToModel(), OnnxOptimizer.Portable).Model;
    }

    /// <summary>The net behind the feature pipeline: raw columns in, prediction out.</summary>
    public static ModelProto Join(ModelProto pipeline, ModelProto net) =>
        OnnxModels.Join(pipeline, net, new Dictionary<string, string> { [Features] = Features }, PipelinePrefix);

    internal static void Classify(OnnxGraph graph, string logits, IReadOnlyList<string> classes)
    {
        graph.NodeTo("probabilities", "Softmax", [logits], OnnxAttribute.Of("axis", 1));
        var index = graph.Node("ArgMax", [logits], OnnxAttribute.Of("axis", 1), OnnxAttribute.Of("keepdims", 0));
        var names = graph.Initializer(OnnxTensors.Of("classes", classes.ToArray(), classes.Count));
        graph.NodeTo("label", "Gather", [names, index], OnnxAttribute.Of("axis", 0));
        graph.Output("label", OnnxType.String, "N");
        graph.Output("probabilities", OnnxType.Float, "N", classes.Count);
    }

    private static void Regression(OnnxGraph graph, string logits, NetOutput output)
    {
        var scaled = graph.Node("Mul", [logits, graph.Scalar("scale", output.Scale)]);
        graph.NodeTo("prediction", "Add", [scaled, graph.Scalar("offset", output.Offset)]);
        graph.Output("prediction", OnnxType.Float, "N", 1);
    }
}
