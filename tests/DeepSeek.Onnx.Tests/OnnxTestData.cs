using DeepSeek.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;

namespace DeepSeek.Onnx.Tests;

/// <summary>The ONNX project's conformance models as packaged by Debian (libonnx-testdata, listed in eng/prerequisites.txt).</summary>
public sealed class OnnxTestData
{
    private const string Folder = "/usr/share/libonnx-testdata/data";

    [Fact]
    public void EveryModel_ReadAndWritten_LosesNoField()
    {
        var models = Models("");
        Assert.True(models.Length > 1000, $"{models.Length} models");
        var discarding = ModelProto.Parser.WithDiscardUnknownFields(true);
        Assert.All(models, path =>
        {
            var bytes = File.ReadAllBytes(path);
            var model = ModelProto.Parser.ParseFrom(bytes);
            Assert.Equal(model, discarding.ParseFrom(bytes)); // differs if a field is unknown to our schema
            Assert.Equal(model, ModelProto.Parser.ParseFrom(OnnxModels.ToBytes(model)));
        });
    }

    [Fact]
    public void Validate_EveryModel_RefusesOnlyWhatThePlatformDoesNotSupport()
    {
        var refusals = new Dictionary<string, int>();
        foreach (var path in Models(""))
        {
            try
            {
                OnnxModels.Load(path);
            }
            catch (InvalidOnnxException e)
            {
                var reason = e.Message.Contains("ai.onnx.preview.training") ? "training domain" : e.Message.Contains("Version ") ? "opset" : e.Message;
                refusals[reason] = refusals.GetValueOrDefault(reason) + 1;
            }
        }
        Assert.Equivalent(new Dictionary<string, int> { ["training domain"] = 9, ["opset"] = 138 }, refusals, strict: true);
    }

    [Fact]
    public void FloatModels_WrittenByUs_ComputeWhatTheOriginalsDo()
    {
        var run = 0;
        using var quiet = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        foreach (var path in Models(""))
        {
            var bytes = File.ReadAllBytes(path);
            var model = ModelProto.Parser.ParseFrom(bytes);
            var random = model.Graph.Node.Any(n => n.OpType is "Bernoulli" or "Dropout");
            if (random || model.Opset() < 7 || model.Graph.Input.Concat(model.Graph.Output).Any(v => v.ElementType() != OnnxType.Float))
                continue;
            using var original = TryLoad(bytes, quiet);
            if (original is null)
                continue;
            using var session = new InferenceSession(OnnxModels.ToBytes(model), quiet);
            var data = Path.Combine(Path.GetDirectoryName(path)!, "test_data_set_0");
            var inputs = session.InputNames.Select((name, i) => Named(name, Tensor(Path.Combine(data, $"input_{i}.pb")))).ToArray();
            using var expected = original.Run(inputs);
            using var actual = session.Run(inputs);
            foreach (var (e, a) in expected.Zip(actual))
                Assert.Equal(e.AsEnumerable<float>(), a.AsEnumerable<float>());
            run++;
        }
        Assert.True(run > 350, $"{run} models ran");
    }

    /// <summary>ONNX Runtime lacks kernels for a few operators of the collection.</summary>
    private static InferenceSession? TryLoad(byte[] bytes, SessionOptions options)
    {
        try
        {
            return new InferenceSession(bytes, options);
        }
        catch (OnnxRuntimeException)
        {
            return null;
        }
    }

    private static NamedOnnxValue Named(string name, TensorProto tensor) =>
        NamedOnnxValue.CreateFromTensor(name, new DenseTensor<float>(tensor.Floats(), [.. tensor.Dims.Select(d => (int)d)]));

    private static string[] Models(string group) => [.. Directory.GetFiles(Path.Combine(Folder, group), "model.onnx", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

    private static TensorProto Tensor(string path) => TensorProto.Parser.ParseFrom(File.ReadAllBytes(path));
}
