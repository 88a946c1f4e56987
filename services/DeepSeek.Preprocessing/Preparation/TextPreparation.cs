using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Onnx;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Features;
using DeepSeek.Preprocessing.Profiles;
using DeepSeek.Preprocessing.Shards;
using DeepSeek.Preprocessing.Sources;
using DeepSeek.Preprocessing.Splitting;
using DeepSeek.Preprocessing.Texts;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>
/// Documents from spool to manifest in two passes: how many bytes belong together, which decides the split, then the tokens, packed
/// into rows. Memory depends on the number of documents (a hash each), not on their length.
/// </summary>
internal sealed class TextPreparation(PreparationContext context, TableFile table)
{
    private static readonly SplitPart[] s_parts = Enum.GetValues<SplitPart>();

    private readonly DocumentScan _scan = new(context.Spec, table, Path.Combine(context.SpoolDirectory, table.File), context.DuckDb);
    private readonly TextSpec _text = context.Spec.Text ?? new TextSpec();
    private readonly DuplicateFinder _duplicates = new();
    private long _bytes;
    private long _cleaned;

    public async Task<PreparedDataset> RunAsync(CancellationToken cancellationToken)
    {
        var split = Survey(cancellationToken);
        var (splits, rows) = await WriteAsync(split, cancellationToken);
        context.Report(0.97, "storing pipeline and profile");
        var artifacts = new Artifacts(context);
        var column = _scan.TextColumn.Name;
        var pipeline = await artifacts.StoreAsync("pipeline.onnx", "application/octet-stream", stream => OnnxModels.Save(TextPipeline.ToModel(column), stream), cancellationToken);
        var spec = context.Spec;
        return await artifacts.FinishAsync(Profile(splits, rows), new DatasetManifest
        {
            Id = context.DatasetId,
            Name = spec.Name,
            Kind = "text",
            Task = ColumnProfiler.Wire(LearningTask.LanguageModeling),
            Target = column,
            Classes = ByteTokens.Names,
            Rows = splits.Values.Sum(s => s.Rows),
            Seed = spec.Split.Seed,
            Inputs = [new DatasetInput(column, "text", "INT64", [-1, -1])],
            FeatureShape = [_text.Context],
            Pipeline = pipeline,
            Splits = splits,
            Source = context.Source,
            Schema = JsonSerializer.SerializeToElement(table.Columns.Select(c => new
            {
                c.Name,
                Type = c == _scan.TextColumn ? ColumnType.Text : (ColumnType?)null,
                Role = c == _scan.TextColumn ? ColumnRole.Target : c == _scan.GroupColumn ? ColumnRole.Group : ColumnRole.Ignore,
            }), ManifestParts.Json),
            Split = JsonSerializer.SerializeToElement(new
            {
                Method = SplitMethod.Grouped,
                By = _scan.GroupColumn is null ? "document" : "group",
                Column = _scan.GroupColumn?.Name,
                spec.Split.Train,
                spec.Split.Validation,
                spec.Split.Test,
                spec.Split.Seed,
            }, ManifestParts.Json),
            Privacy = JsonSerializer.SerializeToElement(new { Detect = Cleans, Masked = Array.Empty<object>(), CleanedDocuments = _cleaned }, ManifestParts.Json),
            CreatedAt = context.CreatedAt,
        }, cancellationToken);
    }

    private bool Cleans => context.Spec.Privacy.Detect && !context.Spec.Privacy.Columns.ContainsKey(_scan.TextColumn.Name);

    private SplitShares Shares => new(context.Spec.Split.Train, context.Spec.Split.Validation, context.Spec.Split.Test);

    /// <summary>First pass: bytes of each group of documents, so that the parts get their shares of the text, not of the documents.</summary>
    private SplitPlan Survey(CancellationToken cancellationToken)
    {
        Dictionary<ulong, long>? groups = [];
        _scan.Run((key, _, text) =>
        {
            _bytes += text.Length + 1;
            if (groups is not null)
            {
                groups[key] = groups.GetValueOrDefault(key) + text.Length + 1;
                groups = groups.Count > GroupedSplitter.MaxCountedGroups ? null : groups;
            }
        }, rows => Progress(0, 0.3, rows, "reading the documents"), cancellationToken);
        var parts = s_parts.Count(p => ShareOf(p) > 0);
        if (groups?.Count < parts && _scan.GroupColumn is null)
        {
            throw new DataFault("file", $"holds {groups.Count} different documents, fewer than the {parts} parts of the split; cut the text into more documents, one a row.");
        }
        return new SplitPlan { Method = SplitMethod.Grouped, Shares = Shares, Seed = (ulong)context.Spec.Split.Seed, GroupRows = groups };
    }

    private async Task<(Dictionary<string, DatasetSplit> Splits, TokenRows[] Rows)> WriteAsync(SplitPlan split, CancellationToken cancellationToken)
    {
        var sizes = context.Sizes;
        var blockRows = (int)Math.Clamp(sizes.BlockBytes / (_text.Context * (long)sizeof(short)), 1, sizes.BlockRows);
        var layout = new RowLayout([_text.Context], RowElement.Token, ClassTarget: true, blockRows);
        var stores = s_parts.Select(p => new RowStore(layout, (long)(_bytes * ShareOf(p) / _text.Context) + 1, sizes.ShardBytes, context.ScratchDirectory,
            ColumnProfiler.Wire(p), p == SplitPart.Train, split.Seed)).ToArray();
        try
        {
            var rows = stores.Select(store => new TokenRows(store, _text.Context)).ToArray();
            var splitter = split.NewSplitter();
            _scan.Run((key, hash, text) =>
            {
                var part = splitter.Next(new SplitKey(0, key, 0));
                _duplicates.Add(hash, part);
                if (Cleans && DocumentScan.Cleaned(text) is { } clean)
                {
                    _cleaned++;
                    text = clean;
                }
                rows[(int)part].Add(text);
            }, seen => Progress(0.3, 0.55, seen, "writing the tokens"), cancellationToken);
            Array.ForEach(rows, r => r.Complete());
            foreach (var part in s_parts.Where(p => ShareOf(p) > 0 && stores[(int)p].Rows == 0))
            {
                throw new DataFault($"split.{ColumnProfiler.Wire(part)}",
                    $"{rows[(int)part].Tokens} tokens fall into this part and fill no row of {_text.Context}; use more text, a smaller text.context or another share.");
            }
            var splits = new Dictionary<string, DatasetSplit>();
            foreach (var part in s_parts)
            {
                context.Report(0.9 + (0.02 * (int)part), $"storing the {ColumnProfiler.Wire(part)} part");
                splits[ColumnProfiler.Wire(part)] = await new Artifacts(context).StoreAsync(stores[(int)part], sample: null, cancellationToken);
            }
            return (splits, rows);
        }
        finally
        {
            Array.ForEach(stores, store => store.Dispose());
        }
    }

    private double ShareOf(SplitPart part) => part switch { SplitPart.Train => Shares.Train, SplitPart.Validation => Shares.Validation, _ => Shares.Test };

    private void Progress(double from, double span, long rows, string doing) =>
        context.Report(from + (table.Rows is > 0 and var total ? span * Math.Min(1, (double)rows / total) : 0), doing);

    private DatasetProfile Profile(Dictionary<string, DatasetSplit> splits, TokenRows[] rows)
    {
        var warnings = new List<string>();
        if (_cleaned > 0)
        {
            warnings.Add($"Personal data was replaced in {_cleaned:N0} documents; privacy.columns with keep leaves the texts as they are.");
        }
        if (_duplicates.Crossing > 0)
        {
            warnings.Add($"{(_duplicates.Exact ? "" : "about ")}{_duplicates.Crossing:N0} documents equal one of another part, by way of their groups: the test part is easier than new text.");
        }
        var train = rows[(int)SplitPart.Train];
        return new DatasetProfile
        {
            Rows = splits.Values.Sum(s => s.Rows),
            RowsWithoutTarget = _scan.Seen.Empty,
            SplitRows = splits.ToDictionary(s => s.Key, s => s.Value.Rows),
            Columns = [],
            Target = new TargetProfile { Name = _scan.TextColumn.Name },
            Leakage = new LeakageReport
            {
                DuplicateRows = _duplicates.Duplicates,
                DuplicatesAcrossParts = _duplicates.Crossing,
                Estimated = !_duplicates.Exact,
                GroupsAcrossParts = 0,
                TargetCopies = [],
            },
            Text = new TextProfile
            {
                Context = _text.Context,
                Documents = s_parts.ToDictionary(ColumnProfiler.Wire, p => rows[(int)p].Documents),
                Tokens = s_parts.ToDictionary(ColumnProfiler.Wire, p => rows[(int)p].Tokens),
                LeftOver = rows.Sum(r => r.LeftOver),
                UnigramEntropy = train.Counts.Where(c => c > 0).Sum(c => -(double)c / train.Tokens * Math.Log((double)c / train.Tokens)),
                Cleaned = _cleaned,
            },
            Warnings = warnings,
        };
    }
}
