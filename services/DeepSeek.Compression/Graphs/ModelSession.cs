using DeepSeek.Onnx;
using DeepSeek.Onnx.Runtime;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using SessionOptions = Microsoft.ML.OnnxRuntime.SessionOptions;

namespace DeepSeek.Compression.Graphs;

/// <summary>ONNX Runtime sessions as compression uses them: one thread, so that every number is repeatable, and the platform's operators, as serving has them.</summary>
public static class ModelSession
{
    public static InferenceSession Open(ModelProto model, GraphOptimizationLevel level = GraphOptimizationLevel.ORT_ENABLE_ALL) =>
        Open(OnnxModels.ToBytes(model), level);

    public static InferenceSession Open(byte[] model, GraphOptimizationLevel level = GraphOptimizationLevel.ORT_ENABLE_ALL, ILogger? logger = null)
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
            return PlatformOperators.Open(model, options, out _, logger);
        }
        catch (Exception e) when (e is OnnxRuntimeException or InvalidOnnxException)
        {
            throw new UnsupportedModelException("ONNX Runtime cannot load the model: " + e.Message, e);
        }
    }
}
