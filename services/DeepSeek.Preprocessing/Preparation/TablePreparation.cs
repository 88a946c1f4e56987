using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.Preprocessing.Columns;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Features;
using DeepSeek.Preprocessing.Profiles;
using DeepSeek.Preprocessing.Shards;
using DeepSeek.Preprocessing.Sources;
using DeepSeek.Preprocessing.Splitting;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>
/// A table from spool to manifest in three passes over the file: survey (types, personal data, split numbers), statistics
/// (pipeline, profile), rows (features into shards, samples). Memory depends on the columns, not on the rows.
/// </summary>
internal sealed class TablePreparation(PreparationContext context, TableFile table)
{
    private readonly string _path = Path.Combine(context.SpoolDirectory, table.File);

    public async Task<PreparedDataset> RunAsync(CancellationToken cancellationToken)
    {
        var spec = context.Spec;
        var survey = TableSurvey.Take(spec, table, _path, context.DuckDb, rows => Progress(0, 0.3, rows, "reading the columns"), cancellationToken);
        var plan = new SchemaInference(spec, context.Key).Decide(survey.Scans);
        var split = survey.PlanSplit(plan);
        var statistics = new TableStatistics(plan, split, spec.MaxCategories);
        ForEachRow(plan, split, survey.Rows, 0.3, "fitting the feature pipeline", statistics.Add, cancellationToken);
        var pipeline = statistics.Fit();
        var splits = await WriteRowsAsync(plan, split, survey.Rows, statistics, pipeline, cancellationToken);
        context.Report(0.97, "storing pipeline and profile");
        var artifacts = new Artifacts(context);
        var onnx = await artifacts.StoreAsync("pipeline.onnx", "application/octet-stream", stream => OnnxModels.Save(PipelineGraph.Of(pipeline), stream), cancellationToken);
        var profile = statistics.Profile(survey);
        return await artifacts.FinishAsync(profile, new DatasetManifest
        {
            Id = context.DatasetId,
            Name = spec.Name,
            Kind = "tabular",
            Task = ColumnProfiler.Wire(plan.Task),
            Target = plan.Target.Name,
            Classes = plan.Classes,
            Rows = profile.Rows,
            Seed = spec.Split.Seed,
            Inputs = Inputs(pipeline),
            FeatureNames = pipeline.Names,
            FeatureShape = [pipeline.Count],
            Pipeline = onnx,
            Splits = splits,
            Source = context.Source,
            Schema = ManifestParts.Schema(plan),
            Split = ManifestParts.Split(split),
            Privacy = ManifestParts.Privacy(spec.Privacy.Detect, plan),
            CreatedAt = context.CreatedAt,
        }, cancellationToken);
    }

    private async Task<Dictionary<string, DatasetSplit>> WriteRowsAsync(
        TablePlan plan, SplitPlan split, long rows, TableStatistics statistics, FeaturePipeline pipeline, CancellationToken cancellationToken)
    {
        var sizes = context.Sizes;
        // A block is held in memory by whoever writes or reads it, so wide rows make short blocks.
        var blockRows = (int)Math.Clamp(sizes.BlockBytes / (pipeline.Count * (long)sizeof(float)), 1, sizes.BlockRows);
        var layout = new RowLayout([pipeline.Count], RowElement.Float, plan.Task == LearningTask.Classification, blockRows);
        var rowBytes = plan.Features.Sum(c => c.Name.Length + 32);
        var capacity = (int)Math.Clamp(sizes.SampleBytes / rowBytes, 1, sizes.SampleRows);
        var parts = Enum.GetValues<SplitPart>();
        var samples = parts.Select(p => new RowSample(plan, capacity, split.Seed, ColumnProfiler.Wire(p))).ToArray();
        var stores = parts.Select(p => new RowStore(layout, statistics.PartRows[(int)p], sizes.ShardBytes, context.ScratchDirectory, ColumnProfiler.Wire(p), p == SplitPart.Train, split.Seed)).ToArray();
        try
        {
            var transform = new FeatureTransform(pipeline);
            ForEachRow(plan, split, rows, 0.6, "writing the rows", (batch, row, part) =>
            {
                var store = stores[(int)part];
                transform.Apply(batch, row, store.Features);
                if (transform.NotFinite(store.Features) is { } column)
                {
                    throw DataFault.At(batch.FirstRow + row + 1, column,
                        "is too large for a feature: scaled, it passes 3.4e38, where single precision ends. Correct the cell, choose another scaling, or give the column the role ignore.");
                }
                if (layout.ClassTarget)
                {
                    store.Add((long)batch.Classes[row]);
                }
                else
                {
                    store.Add(batch.Targets[row]);
                }
                samples[(int)part].Add(batch, row);
                foreach (var profiler in statistics.Profilers)
                {
                    profiler.AddToHistogram(batch, row);
                }
            }, cancellationToken);
            var splits = new Dictionary<string, DatasetSplit>();
            var artifacts = new Artifacts(context);
            foreach (var part in parts)
            {
                context.Report(0.9 + (0.02 * (int)part), $"storing the {ColumnProfiler.Wire(part)} part");
                splits[ColumnProfiler.Wire(part)] = await artifacts.StoreAsync(stores[(int)part], samples[(int)part], cancellationToken);
            }
            return splits;
        }
        finally
        {
            Array.ForEach(stores, store => store.Dispose());
        }
    }

    private void ForEachRow(TablePlan plan, SplitPlan split, long rows, double from, string doing, Action<RowBatch, int, SplitPart> visit, CancellationToken cancellationToken)
    {
        var decoder = new RowDecoder(plan, split.Column, context.Key);
        var splitter = split.NewSplitter();
        var batch = new RowBatch(plan);
        using var scan = new TableScan(_path, table, decoder.Columns, context.DuckDb);
        long seen = 0;
        while (scan.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            decoder.Decode(scan, batch);
            for (var row = 0; row < batch.Rows; row++)
            {
                if (batch.Labelled(row))
                {
                    visit(batch, row, splitter.Next(new SplitKey(split.Method == SplitMethod.Stratified ? batch.Classes[row] : 0, batch.Groups[row], batch.Times[row])));
                }
            }
            seen += batch.Rows;
            Progress(from, 0.3, seen, doing, rows);
        }
        if (seen != rows)
        {
            throw new InvalidOperationException($"The spooled table had {rows} rows in the first pass and {seen} in a later one.");
        }
    }

    private void Progress(double from, double span, long rows, string doing, long? of = null)
    {
        var total = of ?? table.Rows;
        context.Report(from + (total > 0 ? span * Math.Min(1, (double)rows / total.Value) : 0), doing);
    }

    private static List<DatasetInput> Inputs(FeaturePipeline pipeline) =>
    [
        .. pipeline.Numbers.Select(n => new DatasetInput(n.Column, n.Boolean ? "boolean" : "numeric", "FP64", [-1, 1])),
        .. pipeline.Dates.Select(d => new DatasetInput(d.Column, "dateTime", "FP64", [-1, 1])),
        .. pipeline.Categories.Select(c => new DatasetInput(c.Column, "categorical", "BYTES", [-1, 1])),
    ];
}
