using System.Text.Json;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using DeepSeek.Trainer;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Tensor = DeepSeek.Engine.Tensors.Tensor;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>model.onnx in ONNX Runtime against weights.safetensors in the engine, on raw rows the training never saw.</summary>
public sealed class ExportParityTests
{
    private const double Tolerance = 1e-4;
    private const int Rows = 64;

    public static TheoryData<string> Nets => ["batch relu", "batch gelu", "layer silu", "none tanh", "no blocks"];

    [Theory]
    [MemberData(nameof(Nets))]
    public void TabularClassification_ExportedModel_AgreesWithEngine(string net)
    {
        using var folder = TrainerFolder.Tabular(rows: 320, change: s => s with { Epochs = 2, Model = Shape(s.Model, net) });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        var raw = RawRows(folder);

        using var session = new InferenceSession(folder.File("output", "model.onnx"));
        using var results = session.Run(Columns(raw));
        var probabilities = results.Single(r => r.Name == "probabilities").AsEnumerable<float>().ToArray();
        var labels = results.Single(r => r.Name == "label").AsEnumerable<string>().ToArray();
        var expected = Engine(folder, raw, logits => logits.Softmax(1));

        Assert.Equal(Rows * 4, probabilities.Length);
        Assert.All(expected.Zip(probabilities), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
        string[] classes = ["none", "left", "right", "both"];
        Assert.Equal(Enumerable.Range(0, Rows).Select(r => classes[Array.IndexOf(expected[(4 * r)..(4 * r + 4)], expected[(4 * r)..(4 * r + 4)].Max())]), labels);
    }

    [Fact]
    public void TabularRegression_ExportedModel_AgreesWithEngine()
    {
        using var folder = TrainerFolder.Tabular(classification: false, rows: 320);
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        var raw = RawRows(folder);

        using var session = new InferenceSession(folder.File("output", "model.onnx"));
        using var results = session.Run(Columns(raw));
        var prediction = results.Single(r => r.Name == "prediction");
        using var model = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));
        var target = model.RootElement.GetProperty("training").GetProperty("target");
        var (mean, deviation) = (target.GetProperty("mean").GetDouble(), target.GetProperty("deviation").GetDouble());
        var expected = Engine(folder, raw, logits => logits * deviation + mean);

        Assert.Equal([Rows, 1], prediction.AsTensor<float>().Dimensions.ToArray());
        // The numbers are near 100: the same relative tolerance.
        Assert.All(expected.Zip(prediction.AsEnumerable<float>()), pair => Assert.Equal(pair.First, pair.Second, Tolerance * 100));
    }

    [Fact]
    public void Images_ExportedModel_AgreesWithEngine()
    {
        using var folder = TrainerFolder.Images(change: s => s with { Epochs = 2 });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        var random = new SeededRandom(77);
        byte[] pixels = [.. Enumerable.Range(0, Rows).SelectMany(_ => TrainerFolder.Image(ref random).Pixels)];

        using var session = new InferenceSession(folder.File("output", "model.onnx"));
        using var results = session.Run([NamedOnnxValue.CreateFromTensor("image", new DenseTensor<byte>(pixels, [Rows, 1, 12, 12]))]);
        var probabilities = results.Single(r => r.Name == "probabilities").AsEnumerable<float>().ToArray();
        float[] features = [.. pixels.Select(p => (p / 255f - 0.25f) * 4)];
        var expected = Engine(folder, features, [Rows, 1, 12, 12], logits => logits.Softmax(1));

        Assert.All(expected.Zip(probabilities), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
        // Normalisation is worked into the convolutions, so that quantisation finds plain ones.
        Assert.DoesNotContain(OnnxModels.Load(folder.File("output", "model.onnx")).Graph.Node, n => n.OpType == "BatchNormalization");
    }

    [Fact]
    public void Images_PublishedFamily_TrainsAndExports()
    {
        using var folder = TrainerFolder.Images(rows: 32, change: s => s with { Epochs = 1, Model = new ModelSpec { Family = ModelFamily.ResNet18, Augment = true } });
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
        var random = new SeededRandom(77);
        byte[] pixels = [.. Enumerable.Range(0, 8).SelectMany(_ => TrainerFolder.Image(ref random).Pixels)];

        using var session = new InferenceSession(folder.File("output", "model.onnx"));
        using var results = session.Run([NamedOnnxValue.CreateFromTensor("image", new DenseTensor<byte>(pixels, [8, 1, 12, 12]))]);
        var probabilities = results.Single(r => r.Name == "probabilities").AsEnumerable<float>().ToArray();
        var expected = Engine(folder, [.. pixels.Select(p => (p / 255f - 0.25f) * 4)], [8, 1, 12, 12], logits => logits.Softmax(1));

        Assert.Equal(16, probabilities.Length);
        Assert.All(expected.Zip(probabilities), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
    }

    [Fact]
    public void Model_Metadata_NamesTheDatasetAndItsInputs()
    {
        using var folder = TrainerFolder.Tabular(rows: 320);
        TrainerRunner.Run(folder);

        var model = OnnxModels.Load(folder.File("output", "model.onnx"));
        using var metadata = JsonDocument.Parse(model.Metadata("deepseek.model")!);
        using var description = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));

        var hash = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(folder.File("dataset.json"))));
        Assert.Equal(hash, metadata.RootElement.GetProperty("datasetManifestSha256").GetString());
        Assert.Equal(hash, description.RootElement.GetProperty("provenance").GetProperty("datasetManifestSha256").GetString());
        Assert.Equal(6, metadata.RootElement.GetProperty("inputs").GetArrayLength());
        Assert.Equal(["label", "probabilities"], model.Graph.Output.Select(o => o.Name));
        Assert.Contains(model.Graph.Node, n => n.Output.Contains("logits"));
        Assert.Contains(model.Graph.Node, n => n.Output.Contains("features"));
    }

    private static ModelSpec Shape(ModelSpec model, string net) => net switch
    {
        "batch gelu" => model with { Activation = ActivationName.Gelu, Blocks = 2 },
        "layer silu" => model with { Activation = ActivationName.Silu, Normalization = Normalization.Layer },
        "none tanh" => model with { Activation = ActivationName.Tanh, Normalization = Normalization.None },
        "no blocks" => model with { Blocks = 0 },
        _ => model,
    };

    private static double[][] RawRows(TrainerFolder folder)
    {
        var random = new SeededRandom(78);
        return [.. Enumerable.Range(0, Rows).Select(_ => folder.RawRow(ref random))];
    }

    private static NamedOnnxValue[] Columns(double[][] raw) =>
        [.. raw[0].Select((_, c) => NamedOnnxValue.CreateFromTensor($"column {c}", new DenseTensor<double>(raw.Select(r => r[c]).ToArray(), [Rows, 1])))];

    private static float[] Engine(TrainerFolder folder, double[][] raw, Func<Tensor, Tensor> head) =>
        Engine(folder, [.. raw.SelectMany(r => r.Select((v, c) => (float)((v - (3.0 * c - 4)) / (0.5 + c))))], [Rows, raw[0].Length], head);

    private static float[] Engine(TrainerFolder folder, float[] features, long[] sizes, Func<Tensor, Tensor> head)
    {
        using Module net = NetFactory.Create(TrainingPlan.Load(new WorkFolder(folder.Root)));
        using var weights = Safetensors.Read(File.ReadAllBytes(folder.File("output", "weights.safetensors")));
        foreach (var (name, tensor) in net.State())
        {
            weights.Tensors[name].Bytes().CopyTo(tensor.Bytes());
        }
        net.Train(false);
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        return head(net.Forward(Tensor.From<float>(features, sizes))).ToArray<float>();
    }
}
