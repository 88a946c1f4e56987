using DeepSeek.Engine.Export;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;
using Tensor = DeepSeek.Engine.Tensors.Tensor;

namespace DeepSeek.Models.Tests;

/// <summary>Each family's graph in ONNX Runtime, whose own optimisations are off, against the engine, at sizes that were not traced.</summary>
public sealed class OnnxParityTests
{
    private const double Tolerance = 1e-4;

    public static TheoryData<string> Names => [.. Families.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Export_OfFamily_AgreesWithEngine(string name)
    {
        using var exported = ExportedFamily.Of(name);

        Assert.True(exported.Gap(exported.Model) <= Tolerance);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void EachPass_OnFamily_AgreesWithEngine(string name)
    {
        using var exported = ExportedFamily.Of(name);

        Assert.All(OnnxOptimizer.ForOnnxRuntime, pass =>
        {
            var (model, reports) = OnnxOptimizer.Run(exported.Model, [pass]);
            Assert.True(reports.Single().Rewrites == 0 || exported.Gap(model) <= Tolerance, pass.Name);
        });
    }

    /// <param name="exported">Nodes as exported.</param>
    /// <param name="portable">Nodes after the passes for every runtime.</param>
    /// <param name="runtime">Nodes after those for ONNX Runtime.</param>
    /// <param name="fused">Attention and Gelu nodes among them.</param>
    [Theory]
    [InlineData("mlp", 15, 12, 12, 0)]
    [InlineData("mlp regression", 27, 26, 14, 3)]
    [InlineData("convnet", 13, 10, 10, 0)]
    [InlineData("resnet basic", 42, 29, 29, 0)]
    [InlineData("resnet bottleneck", 56, 38, 38, 0)]
    [InlineData("efficientnet", 77, 63, 63, 0)]
    [InlineData("lstm", 23, 17, 17, 0)]
    [InlineData("bert", 100, 85, 56, 4)]
    [InlineData("gpt2", 100, 80, 36, 4)]
    [InlineData("llama", 154, 138, 130, 2)]
    [InlineData("unet2d", 38, 27, 27, 0)]
    [InlineData("unet3d", 78, 77, 77, 0)]
    public void Optimize_OfFamily_TakesFewerNodesForTheSame(string name, int exported, int portable, int runtime, int fused)
    {
        using var family = ExportedFamily.Of(name);

        var forAll = OnnxOptimizer.Run(family.Model, OnnxOptimizer.Portable).Model;
        var forRuntime = OnnxOptimizer.Run(family.Model, OnnxOptimizer.ForOnnxRuntime).Model;

        Assert.Equal((exported, portable, runtime), (family.Model.Graph.Node.Count, forAll.Graph.Node.Count, forRuntime.Graph.Node.Count));
        Assert.Equal(fused, forRuntime.Graph.Node.Count(n => n.OpType is "MultiHeadAttention" or "Gelu" or "FastGelu"));
        Assert.DoesNotContain(forAll.Graph.Node, n => n.Domain.Length > 0);
        var gaps = (Portable: family.Gap(forAll), Runtime: family.Gap(forRuntime));
        Assert.True(gaps.Portable <= Tolerance && gaps.Runtime <= Tolerance, gaps.ToString());
    }
}

/// <summary>A family with its graph, its own output and the means to compare the two.</summary>
internal sealed class ExportedFamily : IDisposable
{
    private readonly Family _family;
    private readonly Module _net;
    private readonly ExportInput[] _inputs;

    private ExportedFamily(string name)
    {
        _family = Families.Of(name);
        _net = _family.Net();
        Noise.Fill(_net);
        // Statistics as after training, so that their folding shows.
        foreach (var (key, tensor) in _net.Buffers())
        {
            foreach (ref var value in tensor.Span<float>())
            {
                value = key.EndsWith("var", StringComparison.Ordinal) ? 0.5f + 0.01f * (key.Length % 7) : 0.05f;
            }
        }
        using var scope = TensorScope.Open();
        _inputs = [.. _family.Inputs(0).Select((x, i) => new ExportInput($"input{i}", x.Dtype, x.Dtype == Dtype.Int64 ? ["N", "T"] : ["N", .. x.Shape()[1..].Select(d => (OnnxDim)d)]))];
        Model = ModelExport.Write(_net, _inputs, "logits", x => _family.Forward(_net, x));
    }

    internal ModelProto Model { get; }

    internal static ExportedFamily Of(string name) => new(name);

    /// <summary>Largest difference from the engine's output, over the largest element of it, but at least over 1.</summary>
    internal double Gap(ModelProto model)
    {
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        _net.Train(false);
        var inputs = _family.Inputs(3);
        var expected = _family.Forward(_net, inputs);
        var actual = Run(model, inputs, out var shape);
        Assert.Equal(expected.Shape(), shape);
        var values = expected.ToArray<float>();
        return values.Zip(actual, (a, b) => (double)Math.Abs(a - b)).Max() / Math.Max(1, values.Max(Math.Abs));
    }

    private float[] Run(ModelProto model, Tensor[] inputs, out long[] shape)
    {
        using var options = new SessionOptions { GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL, IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using var session = new InferenceSession(OnnxModels.ToBytes(model), options);
        var values = inputs.Select((x, i) =>
        {
            int[] sizes = [.. x.Shape().Select(d => (int)d)];
            return x.Dtype == Dtype.Int64
                ? NamedOnnxValue.CreateFromTensor(_inputs[i].Name, new DenseTensor<long>(x.ToArray<long>(), sizes))
                : NamedOnnxValue.CreateFromTensor(_inputs[i].Name, new DenseTensor<float>(x.ToArray<float>(), sizes));
        }).ToArray();
        using var results = session.Run(values);
        var output = results.Single().AsTensor<float>();
        shape = [.. output.Dimensions.ToArray().Select(d => (long)d)];
        return [.. output];
    }

    public void Dispose() => _net.Dispose();
}
