using DeepSeek.Engine.Export;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Onnx.Optimization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Tensor = DeepSeek.Engine.Tensors.Tensor;

namespace DeepSeek.Models.Tests;

/// <summary>What the families do not use: each operator's ONNX form against the engine, with the first dimension open.</summary>
public sealed class OperatorExportTests
{
    private const double Tolerance = 1e-5;

    private static readonly Dictionary<string, (long[] Sizes, Func<Tensor, Tensor> Value)> s_cases = new()
    {
        ["elementwise"] = ([3, 4], x => (x.Abs() + 1).Log() - x.Exp() / 3 + (x * x + 0.5).Sqrt() * x.Sigmoid().Silu() + x.Clamp(-0.5, 0.5).Pow(2) + (x * x + 1).Rsqrt() - -x.Detach()),
        ["softmax"] = ([3, 4], x => x.Softmax(1) + x.LogSoftmax(-1)),
        ["reductions"] = ([4, 4], x => x.Sum(1) + x.Mean(-1) + x.Mean() + x.Sum() + x.Mean(1, keep: true).Squeeze(1)),
        ["permute"] = ([3, 4], x => x.Permute(0, -1, 1).Reshape(x.Size(0), -1)),
        ["merge open dimensions"] = ([3, 4], x => x.Reshape(-1, 4)),
        ["repeat"] = ([3], x => x.Unsqueeze(1).Expand(x.Size(0), 2, 3).Flatten(1).Unsqueeze(0).Expand(2, x.Size(0), 6)),
        ["slices"] = ([3, 4], x => Tensor.Cat([x.Narrow(2, 1, 2), x.Narrow(1, 0, 3).Narrow(2, 0, 1)], -1)),
        ["select"] = ([3, 4], x => x.IndexSelect(2, Tensor.From<long>([3, 0, 3], 3))),
        ["pad"] = ([3, 4], x => x.Pad([1, 2, 0, 1], 0.25)),
        ["flatten behind"] = ([2, 3, 4], x => x.Flatten(2)),
        ["multiply"] = ([4], x => Tensor.From<float>([1, 2], 2).AddMatMul(x, Constant(4, 2)).MatMul(Constant(2, 3))),
        ["masked"] = ([3, 3], x => x + Functional.CausalMask(x, 3, 3).Exp()),
        ["conv1d"] = ([4, 9], x => Functional.Convolution(x, Constant(6, 2, 3), Constant(6), 2, 1, 2, groups: 2)),
        ["conv3d"] = ([2, 4, 4, 4], x => Functional.Convolution(x, Constant(3, 2, 2, 2, 2))),
        ["conv transposed 1d"] = ([2, 4], x => Functional.ConvolutionTransposed(x, Constant(2, 3, 3), Constant(3), 2, 1, 1)),
        ["pools"] = ([2, 6, 6], x => Functional.MaxPool(x, 3, 2, 1) + Functional.AvgPool(x, 3, 2, 1) + Functional.AdaptiveAvgPool(x, 1)),
        ["pool 1d"] = ([2, 6], x => Functional.MaxPool(x, 2, 2)),
        ["upsample nearest"] = ([2, 3, 4], x => Functional.UpsampleNearest(x, 3)),
        ["upsample linear"] = ([2, 3, 4], x => Functional.UpsampleLinear(x, 2)),
        ["upsample aligned"] = ([2, 3, 4], x => Functional.UpsampleLinear(x, 2, alignCorners: true)),
        ["group norm"] = ([4, 5], x => Functional.GroupNorm(x, 2, Constant(4), Constant(4), 1e-3)),
    };

    public static TheoryData<string> Cases => [.. s_cases.Keys];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Export_OfOperator_AgreesWithEngine(string name)
    {
        var (sizes, value) = s_cases[name];
        using var net = new Wrapped(value);
        var model = ModelExport.Write(net, [new ExportInput("x", Dtype.Float32, ["N", .. sizes.Select(s => (OnnxDim)s)])]);
        using var scope = TensorScope.Open();
        var x = Noise.Uniform(name, [5, .. sizes]);
        var expected = net.Forward(x);

        foreach (var graph in new[] { model, OnnxOptimizer.Run(model, OnnxOptimizer.ForOnnxRuntime).Model })
        {
            using var session = new InferenceSession(OnnxModels.ToBytes(graph));
            using var results = session.Run([NamedOnnxValue.CreateFromTensor("x", new DenseTensor<float>(x.ToArray<float>(), [5, .. sizes.Select(s => (int)s)]))]);
            var actual = results.Single().AsTensor<float>();
            Assert.Equal(expected.Shape().Select(d => (int)d), actual.Dimensions.ToArray());
            Assert.All(expected.ToArray<float>().Zip(actual), p => Assert.Equal(p.First, p.Second, Tolerance));
        }
    }

    [Fact]
    public void Export_OperatorWithoutForm_IsNamed()
    {
        using var net = new Wrapped(x => x.Argmax(1).To(Dtype.Float32));

        var fault = Assert.Throws<NotSupportedException>(() => ModelExport.Write(net, [new ExportInput("x", Dtype.Float32, "N", 3)]));

        Assert.Contains("argmax", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Export_SizeThatIsNoMultipleOfAnOpenOne_IsRefused()
    {
        using var net = new Wrapped(x => x.Narrow(0, 0, x.Size(0) - 1));

        Assert.Throws<NotSupportedException>(() => ModelExport.Write(net, [new ExportInput("x", Dtype.Float32, "N", 3)]));
    }

    [Fact]
    public void Export_DimensionThatStaysOpen_IsDeclared()
    {
        using var net = new Wrapped(x => x.Unsqueeze(2));

        var model = ModelExport.Write(net, [new ExportInput("x", Dtype.Float32, "N", 3)], "y");

        Assert.Equal([new OnnxDim(null, "N"), 3, 1], model.Graph.Output.Single().Shape()!);
    }

    private static Tensor Constant(params long[] sizes) => Noise.Uniform($"constant {sizes.Length}", sizes);

    private sealed class Wrapped(Func<Tensor, Tensor> value) : Module
    {
        protected override Tensor Compute(Tensor x) => value(x);
    }
}
