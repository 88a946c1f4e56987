using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Preprocessing.Features;

/// <summary>Raw bytes to normalised floats: (x / 255 - mean) / deviation per channel, in float.</summary>
/// <param name="Shape">[C, H, W].</param>
/// <param name="Mean">By channel, of the train part, in [0, 1].</param>
/// <param name="Deviation">By channel.</param>
internal sealed record ImagePipeline(IReadOnlyList<int> Shape, IReadOnlyList<float> Mean, IReadOnlyList<float> Deviation)
{
    public const string Input = "image";

    public ModelProto ToModel()
    {
        var graph = new OnnxGraph("pipeline");
        OnnxDim[] shape = ["N", Shape[0], Shape[1], Shape[2]];
        var image = graph.Input(Input, OnnxType.UInt8, shape);
        var values = graph.Node("Div", [graph.Node("Cast", [image], OnnxAttribute.Of("to", (long)OnnxType.Float)), graph.Scalar("white", 255f)]);
        var centred = graph.Node("Sub", [values, Channels(graph, "mean", Mean)]);
        graph.NodeTo(PipelineGraph.Output, "Div", [centred, Channels(graph, "deviation", Deviation)]);
        graph.Output(PipelineGraph.Output, OnnxType.Float, shape);
        return graph.ToModel();
    }

    /// <summary>The normalised value of one byte.</summary>
    public float Apply(byte value, int channel) => ((value / 255f) - Mean[channel]) / Deviation[channel];

    private static string Channels(OnnxGraph graph, string hint, IReadOnlyList<float> values) =>
        graph.Initializer(OnnxTensors.Of(hint, values.ToArray(), 1, values.Count, 1, 1));
}
