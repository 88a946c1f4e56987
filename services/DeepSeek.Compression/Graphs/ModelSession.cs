using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using SessionOptions = Microsoft.ML.OnnxRuntime.SessionOptions;

namespace DeepSeek.Compression.Graphs;

/// <summary>ONNX Runtime sessions as compression uses them: one thread, so that every number is repeatable.</summary>
public static class ModelSession
{
    public static InferenceSession Open(ModelProto model, GraphOptimizationLevel level = GraphOptimizationLevel.ORT_ENABLE_ALL) =>
        Open(OnnxModels.ToBytes(model), level);

    public static InferenceSession Open(byte[] model, GraphOptimizationLevel level = GraphOptimizationLevel.ORT_ENABLE_ALL)
    {
        using var options = new SessionOptions
        {
            IntraOpNumThreads = 1,
            InterOpNumThreads = 1,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            GraphOptimizationLevel = level,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
        };
        try
        {
            return new InferenceSession(model, options);
        }
        catch (OnnxRuntimeException e)
        {
            throw new UnsupportedModelException("ONNX Runtime cannot load the model: " + e.Message, e);
        }
    }
}
