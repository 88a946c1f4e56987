using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using DeepSeek.Contracts.Training;
using DeepSeek.Data;
using DeepSeek.Engine;
using DeepSeek.Engine.Export;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Models;
using DeepSeek.Onnx;

namespace DeepSeek.Trainer;

/// <summary>Writes what a run leaves: model.onnx, weights.safetensors, metrics.jsonl and, last, model.json. Equal runs give equal bytes.</summary>
/// <param name="plan">What was run.</param>
/// <param name="folder">Where to.</param>
/// <param name="net">What was trained.</param>
/// <param name="exported">What becomes model.onnx: the same weights, under dense attention where training's has no form there.</param>
/// <param name="statistics">Of the target.</param>
/// <param name="state">How the training went.</param>
internal sealed class ModelOutput(TrainingPlan plan, WorkFolder folder, Module net, Module exported, TargetStatistics statistics, RunState state)
{
    private const string MetadataKey = "deepseek.model";
    private static readonly JsonSerializerOptions s_indented = new(TrainerEvents.Json) { WriteIndented = true, Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) } };

    internal void Write(IReadOnlyDictionary<string, double> test, string testSplit)
    {
        Directory.CreateDirectory(folder.Output);
        net.Train(false);
        var onnx = OnnxModels.ToBytes(Model());
        using var weights = new MemoryStream();
        Safetensors.Write(weights, net.State(), new Dictionary<string, string> { ["format"] = "deepseek", ["datasetManifestSha256"] = plan.DatasetSha256 });
        Save("model.onnx", onnx);
        Save("weights.safetensors", weights.ToArray());
        Save("metrics.jsonl", [.. state.History.SelectMany(e => JsonSerializer.SerializeToUtf8Bytes(e, TrainerEvents.Json).Append((byte)'\n'))]);
        Save("model.json", JsonSerializer.SerializeToUtf8Bytes(Description(test, testSplit, Hash(onnx), Hash(weights.ToArray())), s_indented));
    }

    private global::Onnx.ModelProto Model()
    {
        var dataset = plan.Dataset;
        var metadata = JsonSerializer.Serialize(new
        {
            Format = "deepseek.model/1",
            plan.Spec.ModelName,
            dataset.Task,
            dataset.Kind,
            dataset.Target,
            dataset.Classes,
            dataset.Inputs,
            dataset.FeatureNames,
            dataset.FeatureShape,
            DatasetId = dataset.Id,
            DatasetManifestSha256 = plan.DatasetSha256,
        }, TrainerEvents.Json);
        var entries = new Dictionary<string, string> { [MetadataKey] = metadata };
        if (dataset.IsText)
        {
            return NetExport.Join(plan.Pipeline, LanguageExport.Write(exported, dataset.Classes, entries));
        }
        var output = new NetOutput { Classes = dataset.Classes, Scale = (float)statistics.Deviation, Offset = (float)statistics.Mean };
        var trained = NetExport.Write(exported, plan.Train.FeatureShape, output, entries);
        return NetExport.Join(plan.Pipeline, trained);
    }

    private object Language() => new
    {
        Tokens = new { Kind = "bytes", ByteTokens.Vocabulary, ByteTokens.Separator, ByteTokens.Padding },
        Context = plan.Dataset.FeatureShape[0],
        Attention = plan.Spec.Model.Attention ?? new AttentionSpec(),
        // What model.onnx goes on from; see KeyValueNames.
        Cache = exported is ICachedDecoder decoder ? new { Layers = decoder.CacheLayers, Heads = decoder.CacheHeads, HeadWidth = decoder.CacheWidth } : null,
        // Block-sparse attention is an operator of the platform's in model.onnx, dense where a runtime does not know it; see BlockSparseNode.
        ExportedAttention = exported is Gpt { Config.Sparse: not null } ? AttentionKind.BlockSparse : AttentionKind.Dense,
    };

    private object Description(IReadOnlyDictionary<string, double> test, string testSplit, string onnxSha256, string weightsSha256) => new
    {
        Format = "deepseek.model/1",
        plan.Spec.Name,
        plan.Spec.ModelName,
        plan.Spec.Model.Family,
        Architecture = NetFactory.Architecture(plan),
        Parameters = net.Parameters().Sum(p => p.Tensor.Tensor.Elements),
        plan.Dataset.Task,
        plan.Dataset.Kind,
        plan.Dataset.Target,
        plan.Dataset.Classes,
        plan.Dataset.Inputs,
        plan.Dataset.FeatureNames,
        plan.Dataset.FeatureShape,
        Seeds = new { Run = plan.Spec.Seed, Dataset = plan.Dataset.Seed },
        Training = new
        {
            Epochs = state.History.Count,
            state.Step,
            BestEpoch = state.BestEpoch < 0 ? (int?)null : state.BestEpoch + 1,
            state.Threads,
            Target = plan.Dataset.Classes.Count > 0 ? null : new { statistics.Mean, statistics.Deviation },
        },
        Language = plan.Dataset.IsText ? Language() : null,
        MetricsSplit = testSplit,
        Metrics = test,
        Provenance = new
        {
            plan.SpecSha256,
            DatasetId = plan.Dataset.Id,
            DatasetManifestSha256 = plan.DatasetSha256,
            SourceSha256 = plan.Dataset.Source?.Sha256,
            plan.PipelineSha256,
            OnnxSha256 = onnxSha256,
            WeightsSha256 = weightsSha256,
        },
        Framework = new { Engine = typeof(EngineRuntime).Assembly.GetName().Version?.ToString(3), Libtorch = EngineRuntime.LibtorchVersion.ToString() },
        plan.Spec,
    };

    private void Save(string name, byte[] content) => AtomicFile.Write(Path.Combine(folder.Output, name), stream => stream.Write(content));

    private static string Hash(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));
}
