using System.IO.Hashing;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Features;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Preprocessing.Profiles;
using DeepSeek.Preprocessing.Shards;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>Labelled pictures from spool to manifest in two passes: channel statistics of the train part, then the raw bytes into shards.</summary>
internal sealed class ImagePreparation(PreparationContext context, IImageSource source)
{
    private const string TargetName = "label";

    public async Task<PreparedDataset> RunAsync(CancellationToken cancellationToken)
    {
        if (source.Classes.Count < 2)
        {
            throw new DataFault("file", "all images have one label; there must be at least two classes.");
        }
        var (parts, classRows) = Assign();
        var (pipeline, duplicates) = Survey(parts, cancellationToken);
        var splits = await WriteAsync(parts, cancellationToken);
        var artifacts = new Artifacts(context);
        var onnx = await artifacts.StoreAsync("pipeline.onnx", "application/octet-stream", stream => OnnxModels.Save(pipeline.ToModel(), stream), cancellationToken);
        var shape = source.Shape;
        var spec = context.Spec;
        return await artifacts.FinishAsync(Profile(pipeline, duplicates, classRows, splits), new DatasetManifest
        {
            Id = context.DatasetId,
            Name = spec.Name,
            Kind = "image",
            Task = ColumnProfiler.Wire(LearningTask.Classification),
            Target = TargetName,
            Classes = source.Classes,
            Rows = source.Count,
            Seed = spec.Split.Seed,
            Inputs = [new DatasetInput(ImagePipeline.Input, "image", "UINT8", [-1, shape.Channels, shape.Height, shape.Width])],
            FeatureShape = [shape.Channels, shape.Height, shape.Width],
            Pipeline = onnx,
            Splits = splits,
            Source = context.Source,
            Schema = JsonSerializer.SerializeToElement(new[]
            {
                new { Name = ImagePipeline.Input, Type = ColumnType.Image, Role = ColumnRole.Feature },
                new { Name = TargetName, Type = ColumnType.Categorical, Role = ColumnRole.Target },
            }, ManifestParts.Json),
            Split = JsonSerializer.SerializeToElement(new
            {
                Method = spec.Split.Method ?? SplitMethod.Stratified,
                spec.Split.Train,
                spec.Split.Validation,
                spec.Split.Test,
                spec.Split.Seed,
                OfficialTest = HasOfficialTest,
            }, ManifestParts.Json),
            CreatedAt = context.CreatedAt,
        }, cancellationToken);
    }

    private bool HasOfficialTest => source.Labels().Any(l => l.Part == SplitPart.Test);

    /// <summary>The part of every image, one byte each: 70 MB for as many images as fit a zip many times over.</summary>
    private (SplitPart[] Parts, long[,] ClassRows) Assign()
    {
        var official = HasOfficialTest;
        var free = new long[source.Classes.Count];
        foreach (var (c, _) in source.Labels().Where(l => l.Part is null))
        {
            free[c]++;
        }
        var given = context.Spec.Split;
        // With an official test part, the others share what they were to have.
        var rest = given.Train + given.Validation;
        var shares = official ? new SplitShares(given.Train / rest, given.Validation / rest, 0) : new SplitShares(given.Train, given.Validation, given.Test);
        var stratified = given.Method is null or SplitMethod.Stratified;
        var splitter = new StratifiedSplitter(stratified ? free : [free.Sum()], shares, (ulong)given.Seed);
        var parts = new SplitPart[source.Count];
        var classRows = new long[source.Classes.Count, 3];
        var at = 0;
        foreach (var (c, part) in source.Labels())
        {
            parts[at] = part ?? splitter.Next(new SplitKey(stratified ? c : 0, 0, 0));
            classRows[c, (int)parts[at++]]++;
        }
        foreach (var (part, share) in new[] { (SplitPart.Train, shares.Train), (SplitPart.Validation, shares.Validation), (SplitPart.Test, shares.Test) })
        {
            if (share > 0 && !parts.Contains(part))
            {
                throw new DataFault($"split.{ColumnProfiler.Wire(part)}", $"none of the {parts.Length:N0} images falls into this part; use more images or another share.");
            }
        }
        return (parts, classRows);
    }

    private (ImagePipeline Pipeline, DuplicateFinder Duplicates) Survey(SplitPart[] parts, CancellationToken cancellationToken)
    {
        var shape = source.Shape;
        var duplicates = new DuplicateFinder();
        // Sums of bytes and their squares are exact in 64 bits for 10¹⁴ pixels.
        var sums = new long[shape.Channels];
        var squares = new long[shape.Channels];
        long images = 0;
        ForEach(parts, 0, "reading the images", (pixels, _, part) =>
        {
            duplicates.Add(XxHash3.HashToUInt64(pixels), part);
            if (part != SplitPart.Train)
            {
                return;
            }
            images++;
            for (var c = 0; c < shape.Channels; c++)
            {
                long sum = 0, square = 0;
                foreach (var value in pixels.AsSpan(c * shape.Height * shape.Width, shape.Height * shape.Width))
                {
                    sum += value;
                    square += value * value;
                }
                sums[c] += sum;
                squares[c] += square;
            }
        }, cancellationToken);
        double count = images * (double)shape.Height * shape.Width * 255;
        var mean = sums.Select(s => s / count).ToArray();
        var deviation = squares.Select((s, c) => Math.Sqrt(Math.Max(0, (s / count / 255) - (mean[c] * mean[c])))).Select(d => d > 0 ? d : 1);
        return (new ImagePipeline([shape.Channels, shape.Height, shape.Width], [.. mean.Select(m => (float)m)], [.. deviation.Select(d => (float)d)]), duplicates);
    }

    private async Task<Dictionary<string, DatasetSplit>> WriteAsync(SplitPart[] parts, CancellationToken cancellationToken)
    {
        var shape = source.Shape;
        var layout = new RowLayout([shape.Channels, shape.Height, shape.Width], RowElement.Byte, ClassTarget: true, BlockRows(shape));
        var kinds = Enum.GetValues<SplitPart>();
        var stores = kinds.Select(p => new RowStore(layout, parts.LongCount(q => q == p), context.Sizes.ShardBytes, context.ScratchDirectory,
            ColumnProfiler.Wire(p), p == SplitPart.Train, (ulong)context.Spec.Split.Seed)).ToArray();
        try
        {
            ForEach(parts, 0.5, "writing the images", (pixels, c, part) =>
            {
                pixels.CopyTo(stores[(int)part].Pixels);
                stores[(int)part].Add((long)c);
            }, cancellationToken);
            var artifacts = new Artifacts(context);
            var splits = new Dictionary<string, DatasetSplit>();
            foreach (var part in kinds)
            {
                context.Report(0.92 + (0.02 * (int)part), $"storing the {ColumnProfiler.Wire(part)} part");
                splits[ColumnProfiler.Wire(part)] = await artifacts.StoreAsync(stores[(int)part], sample: null, cancellationToken);
            }
            return splits;
        }
        finally
        {
            Array.ForEach(stores, store => store.Dispose());
        }
    }

    // A block of large pictures holds fewer of them, so that it stays near 64 MB in memory.
    private int BlockRows(ImageShape shape) => (int)Math.Clamp((64L << 20) / shape.Bytes, 1, context.Sizes.BlockImages);

    private void ForEach(SplitPart[] parts, double from, string doing, Action<byte[], int, SplitPart> visit, CancellationToken cancellationToken)
    {
        var pixels = new byte[source.Shape.Bytes];
        using var labels = source.Labels().GetEnumerator();
        var at = 0;
        foreach (var _ in source.Read(pixels))
        {
            labels.MoveNext();
            visit(pixels, labels.Current.Class, parts[at++]);
            if (at % 1024 == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                context.Report(from + (0.42 * at / parts.Length), doing);
            }
        }
    }

    private DatasetProfile Profile(ImagePipeline pipeline, DuplicateFinder duplicates, long[,] classRows, Dictionary<string, DatasetSplit> splits)
    {
        var shape = source.Shape;
        var warnings = new List<string>();
        if (duplicates.Crossing > 0)
        {
            warnings.Add($"{(duplicates.Exact ? "" : "about ")}{duplicates.Crossing:N0} images equal one of another part: the test part is easier than new data.");
        }
        return new DatasetProfile
        {
            Rows = source.Count,
            RowsWithoutTarget = 0,
            SplitRows = splits.ToDictionary(s => s.Key, s => s.Value.Rows),
            Columns = [],
            Target = new TargetProfile
            {
                Name = TargetName,
                Classes = [.. source.Classes.Select((name, c) => new ClassProfile(name, classRows[c, 0], classRows[c, 1], classRows[c, 2]))],
            },
            Leakage = new LeakageReport
            {
                DuplicateRows = duplicates.Duplicates,
                DuplicatesAcrossParts = duplicates.Crossing,
                Estimated = !duplicates.Exact,
                TargetCopies = [],
            },
            Images = new ImageProfile(shape.Channels, shape.Height, shape.Width, pipeline.Mean, pipeline.Deviation),
            Warnings = warnings,
        };
    }
}
