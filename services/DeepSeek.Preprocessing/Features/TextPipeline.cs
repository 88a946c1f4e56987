using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Preprocessing.Features;

/// <summary>Tokens go to the net as they are: ONNX has no operator that takes a string apart, so whoever calls the model makes the tokens.</summary>
internal static class TextPipeline
{
    public static ModelProto ToModel(string column)
    {
        var graph = new OnnxGraph("pipeline");
        graph.NodeTo(PipelineGraph.Output, "Identity", [graph.Input(column, OnnxType.Int64, "N", "T")]);
        graph.Output(PipelineGraph.Output, OnnxType.Int64, "N", "T");
        return graph.ToModel();
    }
}
