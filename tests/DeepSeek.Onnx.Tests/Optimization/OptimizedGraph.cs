using DeepSeek.Onnx.Optimization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;

namespace DeepSeek.Onnx.Tests.Optimization;

/// <summary>Runs a graph before and after passes in ONNX Runtime, whose own optimisations are off.</summary>
internal static class OptimizedGraph
{
    private const double Tolerance = 1e-4;

    /// <summary>The optimised model, which gave the same outputs for drawn inputs (open dimensions 3) and has so many nodes.</summary>
    internal static ModelProto Check(ModelProto model, int before, int after, params OnnxPass[] passes)
    {
        Assert.Equal(before, model.Graph.Node.Count);
        var bytes = OnnxModels.ToBytes(model);
        var (optimized, reports) = OnnxOptimizer.Run(model, passes);

        Assert.Equal(bytes, OnnxModels.ToBytes(model));
        Assert.Equal(after, optimized.Graph.Node.Count);
        Assert.Equal(after - before, reports.Sum(r => r.NodesAfter - r.NodesBefore));
        var (expected, actual) = (Run(model), Run(optimized));
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), p => Assert.Equal(p.First, p.Second, Tolerance));
        return optimized;
    }

    internal static TensorProto Drawn(string name, params long[] dims)
    {
        var values = new float[dims.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)Math.Sin(12.9898 * (i + 1) + name.Length);
        }
        return OnnxTensors.Of(name, values, dims);
    }

    private static float[] Run(ModelProto model)
    {
        using var options = new SessionOptions { GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL, IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using var session = new InferenceSession(OnnxModels.ToBytes(model), options);
        var inputs = model.Graph.Input.Select(i =>
        {
            int[] dims = [.. i.Shape()!.Select(d => (int)(d.Size ?? 3))];
            return NamedOnnxValue.CreateFromTensor(i.Name, new DenseTensor<float>(Drawn(i.Name, [.. dims.Select(d => (long)d)]).Floats(), dims));
        }).ToArray();
        using var results = session.Run(inputs);
        return [.. results.SelectMany(r => r.AsEnumerable<float>())];
    }
}
