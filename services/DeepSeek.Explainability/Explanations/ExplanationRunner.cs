using System.Diagnostics;
using DeepSeek.Data;
using DeepSeek.Explainability.Images;
using DeepSeek.Explainability.Models;
using DeepSeek.Explainability.Reports;
using DeepSeek.Explainability.Shapley;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Explainability.Explanations;

/// <summary>Computes one explanation from the model's and the dataset's bytes.</summary>
public sealed class ExplanationRunner(BlobClient blobs, ILogger<ExplanationRunner> logger)
{
    private const int DefaultRows = 20;
    private const int DefaultImages = 4;
    private const int FillSample = 256;

    /// <summary>The report of <paramref name="explanation"/>; <paramref name="progress"/> is told of rows done (0 to 1).</summary>
    public async Task<ExplanationReport> RunAsync(Explanation explanation, ExplanationSpec spec, Action<double, string> progress, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var dataset = DatasetManifest.Parse(await blobs.ReadAsync(explanation.DatasetManifestSha256, cancellationToken));
        using var model = new OnnxModel(await blobs.FetchAsync(explanation.ModelSha256, cancellationToken), threads: 1, logger);
        model.Output = ModelOutput.Choose(model.Metadata, spec.Output);
        var report = new ExplanationReport
        {
            Id = explanation.Id,
            ModelName = explanation.ModelName,
            ModelVersion = explanation.ModelVersion,
            ModelSha256 = explanation.ModelSha256,
            DatasetManifestSha256 = explanation.DatasetManifestSha256,
            Method = "occlusion",
            Output = model.Output.Name,
            BackgroundRows = spec.Background.Rows,
            Seed = spec.Background.Seed,
            ElapsedSeconds = 0,
        };
        report = dataset.IsImage
            ? await ExplainImagesAsync(report, model, dataset, spec, progress, cancellationToken)
            : await ExplainTableAsync(report, model, dataset, spec, progress, cancellationToken);
        return report with { ElapsedSeconds = clock.Elapsed.TotalSeconds };
    }

    private async Task<ExplanationReport> ExplainTableAsync(
        ExplanationReport report, OnnxModel model, DatasetManifest dataset, ExplanationSpec spec, Action<double, string> progress, CancellationToken cancellationToken)
    {
        var background = await DrawAsync(dataset, spec.Background.Split, spec.Background.Rows, spec.Background.Seed, cancellationToken);
        var rows = spec.Rows is { } given
            ? RowTable.Of(dataset.Inputs, given)
            : await DrawAsync(dataset, spec.Split, spec.Count ?? DefaultRows, spec.Background.Seed, cancellationToken);
        var exact = spec.Method == ExplanationMethod.Exact || (spec.Method == ExplanationMethod.Auto && dataset.Inputs.Count <= ExactShapley.MaxPlayers);
        var explained = new List<ExplainedRow>(rows.Rows);
        double baseValue = 0;
        var fx = new double[1];
        for (var row = 0; row < rows.Rows; row++)
        {
            var game = new InterventionalGame(model, background, rows, row);
            var attribution = exact
                ? ExactShapley.Explain(game, cancellationToken)
                : PermutationShapley.Explain(game, spec.Background.Seed + row, spec.Sampling.MaxPairs, spec.Sampling.TargetError, cancellationToken);
            model.Predict(rows.Take([row]), fx);
            if (!double.IsFinite(fx[0]) || !attribution.Phi.All(double.IsFinite))
            {
                throw new InvalidDataException($"The model gives no finite output for row {row} or for its mixtures with the background, so it has no attribution. Look for values far outside the training data, or for missing values the pipeline does not fill.");
            }

            baseValue = attribution.Base; // the same for every row: it only sees the background
            explained.Add(new ExplainedRow(
                RowTable.Inputs(rows, row), fx[0], attribution.Phi, attribution.StandardErrors,
                Math.Abs(attribution.Phi.Sum() + attribution.Base - fx[0]) / Math.Max(1, Math.Abs(fx[0])), attribution.Evaluations));
            progress((row + 1.0) / rows.Rows, $"{row + 1} of {rows.Rows} rows explained");
        }

        return report with
        {
            Method = exact ? "exact" : "permutation",
            BackgroundRows = background.Rows,
            Features = rows.Names,
            Base = baseValue,
            Rows = explained,
            Global = GlobalImportance.Of(rows.Names, [.. explained.Select(row => row.Phi)]),
            MaxAdditivityError = explained.Max(row => row.AdditivityError),
        };
    }

    private async Task<ExplanationReport> ExplainImagesAsync(
        ExplanationReport report, OnnxModel model, DatasetManifest dataset, ExplanationSpec spec, Action<double, string> progress, CancellationToken cancellationToken)
    {
        var shape = new ImageShape(dataset.FeatureShape[0], dataset.FeatureShape[1], dataset.FeatureShape[2]);
        var (background, _) = await ReadImagesAsync(dataset, spec.Background.Split, Math.Min(spec.Background.Rows, FillSample), shape, cancellationToken);
        var fill = ChannelMeans(background, shape);
        var (images, targets) = await ReadImagesAsync(dataset, spec.Split, spec.Count ?? DefaultImages, shape, cancellationToken);
        var explained = new List<ExplainedImage>();
        for (var index = 0; index < targets.Count; index++)
        {
            var pixels = images.AsSpan(index * shape.Length, shape.Length).ToArray();
            var target = dataset.IsClassification ? dataset.Classes[(int)targets[index]] : null;
            if (spec.Output is null && target is not null)
            {
                model.Output = ModelOutput.Choose(model.Metadata, target); // unasked, an image is explained for its true class
            }

            var heat = Occlusion.Explain(model, pixels, shape, spec.Occlusion.Patch, spec.Occlusion.Stride, fill, cancellationToken);
            explained.Add(new ExplainedImage(index, target, model.Output.Name, heat.Score, shape.Channels, shape.Height, shape.Width, pixels, heat.Values));
            progress((index + 1.0) / targets.Count, $"{index + 1} of {targets.Count} images explained");
        }

        return report with { Output = spec.Output ?? "each image's true class", BackgroundRows = background.Length / shape.Length, Images = explained };
    }

    // A seeded draw without replacement from the split's sample, which is itself a seeded draw from the split.
    private async Task<FeatureTable> DrawAsync(DatasetManifest dataset, string split, int count, int seed, CancellationToken cancellationToken)
    {
        var sample = dataset.Splits[split].Sample ?? throw new InvalidDataException($"Split '{split}' of dataset '{dataset.Name}' holds no sample. Prepare the dataset again.");
        await using var stream = await blobs.OpenAsync(sample.Sha256, cancellationToken);
        var rows = SampleRows.Read(stream).Select(row => row.Inputs).ToArray();
        new Random(seed).Shuffle(rows);
        return RowTable.Of(dataset.Inputs, rows[..Math.Min(count, rows.Length)]);
    }

    private async Task<(byte[] Pixels, List<double> Targets)> ReadImagesAsync(DatasetManifest dataset, string split, int count, ImageShape shape, CancellationToken cancellationToken)
    {
        var pixels = new MemoryStream();
        var targets = new List<double>();
        foreach (var shard in dataset.Splits[split].Shards)
        {
            await using var stream = await blobs.OpenAsync(shard.Sha256, cancellationToken);
            foreach (var block in ShardReader.Read(stream))
            {
                var take = Math.Min(count - targets.Count, block.Rows);
                pixels.Write(block.Features.As<byte>()[..(take * shape.Length)]);
                for (var row = 0; row < take; row++)
                {
                    targets.Add(dataset.IsClassification ? block.Target.As<long>()[row] : block.Target.As<float>()[row]);
                }

                if (targets.Count == count)
                {
                    return (pixels.ToArray(), targets);
                }
            }
        }

        return (pixels.ToArray(), targets);
    }

    private static byte[] ChannelMeans(byte[] images, ImageShape shape)
    {
        var sums = new double[shape.Channels];
        var plane = shape.Height * shape.Width;
        for (var start = 0; start < images.Length; start += plane)
        {
            foreach (var value in images.AsSpan(start, plane))
            {
                sums[start / plane % shape.Channels] += value;
            }
        }

        return [.. sums.Select(sum => (byte)Math.Round(sum * shape.Channels / images.Length))];
    }
}
