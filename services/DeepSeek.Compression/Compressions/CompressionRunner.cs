using System.Text.Json;
using System.Text.Json.Nodes;
using DeepSeek.Compression.Calibration;
using DeepSeek.Compression.Graphs;
using DeepSeek.Compression.Measurement;
using DeepSeek.Compression.Quantization;
using DeepSeek.Contracts.Registry;
using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;
using Onnx;

namespace DeepSeek.Compression.Compressions;

/// <summary>A measured candidate; its bytes are stored only when it met its budget.</summary>
public sealed record CompressionOutcome(CompressionReport Report, IReadOnlyList<Artifact> Artifacts, string? ReportSha256);

/// <summary>Quantises a version's model, measures it against the original, and stores it when it is within its budget.</summary>
public sealed class CompressionRunner(BlobClient blobs, IOptions<CompressionOptions> options, ILogger<CompressionRunner> logger)
{
    public const string ModelFile = "model.onnx";
    private const string CardFile = "model.json";
    private const string Json = "application/json";

    public async Task<CompressionOutcome> RunAsync(CompressionRecord compression, CompressionSpec spec, Action<double, string> report, CancellationToken cancelled)
    {
        report(0.02, "fetching the model");
        var dataset = DatasetManifest.Parse(await blobs.ReadAsync(compression.DatasetManifestSha256, cancelled));
        var parent = JsonSerializer.Deserialize<Dictionary<string, string>>(compression.ParentArtifacts, PlatformJson.Options)!;
        var original = await blobs.ReadAsync(parent[ModelFile], cancelled);
        var model = OnnxModels.Load(original);
        RequireInputs(model, dataset);

        report(0.05, "drawing calibration rows");
        var rows = new DatasetRows(dataset, blobs);
        var test = new HashSet<UInt128>();
        var timed = new List<ModelBatch>();
        await foreach (var batch in rows.ReadAsync(CompressionRules.TestSplit, options.Value.TestRows, cancelled))
        {
            for (var row = 0; row < batch.Rows; row++)
            {
                test.Add(batch.Fingerprint(row));
                if (timed.Count < TimedRows)
                    timed.Add(batch.Take([row]).Batch);
            }
        }
        var split = spec.Calibration?.Split ?? "train";
        var (calibration, shared) = await rows.SpreadAsync(split, spec.Calibration?.Samples ?? CalibrationSpec.MaxSamples, test, cancelled);
        if (calibration is null)
            throw new UnsupportedModelException($"Every row of split '{split}' is also in the test split, so none may calibrate; prepare the dataset with distinct rows.");

        var settings = spec.ToOptions();
        var quantized = StaticQuantizer.Quantize(model, Batches(calibration), settings, (done, what) => report(0.1 + 0.5 * done, what), cancelled);
        var candidate = OnnxModels.ToBytes(quantized.Model);

        report(0.6, "measuring accuracy on the test split");
        using var fp32 = ModelSession.Open(original, logger: logger);
        using var int8 = ModelSession.Open(candidate);
        var comparison = await CompareAsync(fp32, int8, rows, dataset, cancelled);
        report(0.85, $"timing {options.Value.TimedRuns} runs of each");
        var latency = Latency.Measure(fp32, int8, timed, [comparison.Output], options.Value.WarmUpRuns, options.Value.TimedRuns, cancelled);

        var metric = CompressionRules.MetricOf(dataset);
        var accuracy = new AccuracyReport(metric, comparison.Fp32, comparison.Int8, comparison.Rows);
        var maxDrop = spec.Budget?.MaxDrop ?? 0.005;
        var result = new CompressionReport
        {
            Method = spec.Method,
            Calibration = new CalibrationReport(settings.Calibration, split, calibration.Rows, shared),
            Layers = quantized.Layers,
            FloatLayers = quantized.FloatLayers,
            ReduceRange = quantized.ReduceRange,
            Bytes = new ByteReport(original.Length, candidate.Length),
            Accuracy = accuracy,
            Agreement = comparison.Agreement,
            LatencyMs = latency,
            Threads = 1,
            // A loss that equals the budget is within it, whatever the last bit of a difference of two fractions says.
            Budget = new BudgetReport(metric, maxDrop, accuracy.Drop <= maxDrop + 1e-12),
        };
        if (!result.Budget.Met)
            return new CompressionOutcome(result, [], null);

        report(0.95, "storing the compressed model");
        var card = await CardAsync(compression, spec, parent, result, cancelled);
        Artifact[] artifacts =
        [
            (await blobs.UploadAsync(candidate, cancellationToken: cancelled)).ToArtifact(ModelFile),
            (await blobs.UploadAsync(card, Json, cancelled)).ToArtifact(CardFile),
        ];
        var stored = await blobs.UploadAsync(JsonSerializer.SerializeToUtf8Bytes(result, PlatformJson.Options), Json, cancelled);
        return new CompressionOutcome(result, artifacts, stored.Sha256);
    }

    private const int TimedRows = 64;
    private const int CalibrationBatch = 64;

    private static List<ModelBatch> Batches(LabelledBatch rows) =>
        [.. Enumerable.Range(0, rows.Rows).Chunk(CalibrationBatch).Select(part => rows.Take(part).Batch)];

    private async Task<Comparison> CompareAsync(Microsoft.ML.OnnxRuntime.InferenceSession fp32, Microsoft.ML.OnnxRuntime.InferenceSession int8, DatasetRows rows, DatasetManifest dataset, CancellationToken cancelled)
    {
        var comparison = dataset.IsText ? Comparison.ForTokens() : Comparison.For(dataset.IsClassification);
        if (!fp32.OutputMetadata.ContainsKey(comparison.Output))
            throw new UnsupportedModelException($"The model has no output '{comparison.Output}', by which a {dataset.Task} model is measured; it has {string.Join(", ", fp32.OutputMetadata.Keys)}.");
        await foreach (var batch in rows.ReadAsync(CompressionRules.TestSplit, options.Value.TestRows, cancelled))
        {
            cancelled.ThrowIfCancellationRequested();
            using var a = batch.Batch.Run(fp32, [comparison.Output]);
            using var b = batch.Batch.Run(int8, [comparison.Output]);
            comparison.Add(a[0], b[0], dataset.IsText ? TokenComparison.NextTokens(batch) : batch.Targets);
        }
        return comparison;
    }

    private static void RequireInputs(ModelProto model, DatasetManifest dataset)
    {
        var constants = model.Graph.Initializer.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var input in model.Graph.Input.Where(i => !constants.Contains(i.Name)))
        {
            if (dataset.Inputs.All(d => d.Name != input.Name))
                throw new UnsupportedModelException($"The model's input '{input.Name}' is no column of its dataset '{dataset.Name}', which has {string.Join(", ", dataset.Inputs.Take(10).Select(d => d.Name))}.");
        }
    }

    /// <summary>The parent's model.json, if it has one, with what was done to it.</summary>
    private async Task<byte[]> CardAsync(CompressionRecord compression, CompressionSpec spec, Dictionary<string, string> parent, CompressionReport report, CancellationToken cancelled)
    {
        var card = parent.TryGetValue(CardFile, out var sha256) ? JsonNode.Parse(await blobs.ReadAsync(sha256, cancelled)) as JsonObject ?? [] : [];
        card["compression"] = new JsonObject
        {
            ["id"] = compression.Id,
            ["method"] = JsonSerializer.SerializeToNode(spec.Method, PlatformJson.Options),
            ["parent"] = new JsonObject { ["modelName"] = compression.ModelName, ["version"] = compression.ParentVersion, ["sha256"] = parent[ModelFile] },
            ["datasetManifestSha256"] = compression.DatasetManifestSha256,
            ["spec"] = JsonSerializer.SerializeToNode(spec, PlatformJson.Options),
            ["report"] = JsonSerializer.SerializeToNode(report, PlatformJson.Options),
        };
        return JsonSerializer.SerializeToUtf8Bytes(card, PlatformJson.Options);
    }
}
