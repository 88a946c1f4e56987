using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Preprocessing.Preparation;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Sources;
using DeepSeek.Testing;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>A dataset prepared in a folder, without servers: blobs are files named by their hash.</summary>
internal sealed class Prepared : IDisposable
{
    public static readonly byte[] Key = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    private readonly TestFolder _folder = new();

    public PreparedDataset Dataset { get; private set; } = null!;
    public DatasetManifest Manifest => Dataset.Manifest;
    public JsonElement Profile => JsonDocument.Parse(Dataset.ProfileBytes).RootElement;
    public string Blobs => System.IO.Path.Combine(_folder.Path, "blobs");

    public static DatasetSpec Spec(string target) => new() { Name = "test", Format = DatasetFormat.Csv, Target = target };

    public static Task<Prepared> FromCsvAsync(DatasetSpec spec, string csv, PreparationSizes? sizes = null) => FromTextAsync(spec, Encoding.UTF8.GetBytes(csv), sizes);

    public static async Task<Prepared> FromTextAsync(DatasetSpec spec, byte[] content, PreparationSizes? sizes = null)
    {
        var prepared = new Prepared();
        try
        {
            var spool = Directory.CreateDirectory(System.IO.Path.Combine(prepared._folder.Path, "spool")).FullName;
            TableFile table;
            using (var output = File.Create(System.IO.Path.Combine(spool, "table")))
            {
                var intake = Intake(spec, output, new TextLimits());
                intake.Append(content);
                table = intake.Complete();
            }
            await prepared.RunAsync(spec, spool, context => spec.Task == LearningTask.LanguageModeling
                ? new TextPreparation(context, table).RunAsync(CancellationToken.None)
                : new TablePreparation(context, table).RunAsync(CancellationToken.None), sizes);
            return prepared;
        }
        catch
        {
            prepared.Dispose();
            throw;
        }
    }

    public static ITableIntake Intake(DatasetSpec spec, Stream output, TextLimits limits)
    {
        DatasetSpecRules.Check(spec);
        bool Ignored(string name) => spec.Task == LearningTask.LanguageModeling || spec.Columns.GetValueOrDefault(name)?.Role == ColumnRole.Ignore;
        var target = DatasetSpecRules.TargetOf(spec)!;
        return spec.Format == DatasetFormat.Jsonl
            ? new JsonLinesIntake(output, "table", target, Ignored, limits)
            : new CsvIntake(output, "table", spec.Csv, target, Ignored, limits);
    }

    public async Task RunAsync(DatasetSpec spec, string spool, Func<PreparationContext, Task<PreparedDataset>> prepare, PreparationSizes? sizes = null)
    {
        Directory.CreateDirectory(Blobs);
        var scratch = Directory.CreateDirectory(System.IO.Path.Combine(_folder.Path, "scratch")).FullName;
        Dataset = await prepare(new PreparationContext
        {
            DatasetId = Guid.Empty,
            Spec = spec,
            Source = new DatasetSource("test.csv", new string('0', 64), 1),
            SpoolDirectory = spool,
            ScratchDirectory = scratch,
            DuckDb = new DuckDbLimits(256, 1, scratch),
            Key = MaskingKey.FromBytes(Key),
            Sizes = sizes ?? new PreparationSizes(),
            CreatedAt = DateTimeOffset.UnixEpoch,
            Store = StoreAsync,
            Report = (_, _) => { },
        });
        Assert.Empty(Directory.EnumerateFileSystemEntries(scratch));
    }

    public string NewSpool() => Directory.CreateDirectory(System.IO.Path.Combine(_folder.Path, "spool")).FullName;

    public byte[] Blob(string sha256) => File.ReadAllBytes(System.IO.Path.Combine(Blobs, sha256));

    public IEnumerable<ShardBlock> Blocks(string split) =>
        Manifest.Splits[split].Shards.SelectMany(s => ShardReader.Read(new MemoryStream(Blob(s.Sha256))));

    public float[][] Features(string split) => [.. Blocks(split).SelectMany(b => b.Features.As<float>().ToArray().Chunk(Manifest.FeatureShape[0]))];

    public short[][] Tokens(string split) => [.. Blocks(split).SelectMany(b => b.Features.As<short>().ToArray().Chunk(Manifest.FeatureShape[0]))];

    public long[] Classes(string split) => [.. Blocks(split).SelectMany(b => b.Target.As<long>().ToArray())];

    public SampleRow[] Sample(string split) => [.. SampleRows.Read(new MemoryStream(Blob(Manifest.Splits[split].Sample!.Sha256)))];

    public JsonElement Column(string name) => Profile.GetProperty("columns").EnumerateArray().Single(c => c.GetProperty("name").GetString() == name);

    public string[] Warnings => [.. Profile.GetProperty("warnings").EnumerateArray().Select(w => w.GetString()!)];

    public void Dispose() => _folder.Dispose();

    private async Task<DatasetBlob> StoreAsync(string path, string mediaType, CancellationToken cancellationToken)
    {
        var bytes = await File.ReadAllBytesAsync(path, cancellationToken);
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes));
        await File.WriteAllBytesAsync(System.IO.Path.Combine(Blobs, sha256), bytes, cancellationToken);
        return new DatasetBlob(sha256, bytes.Length);
    }
}
