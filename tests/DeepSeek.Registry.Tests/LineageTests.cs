using System.Text.Json;
using DeepSeek.Contracts.Compression;
using DeepSeek.Contracts.Datasets;
using DeepSeek.Contracts.Registry;
using DeepSeek.Contracts.Training;
using DeepSeek.Registry.Blobs;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

public sealed class LineageTests : IAsyncLifetime
{
    private static readonly string s_source = BlobHash.Of("raw bytes that nobody stores"u8);
    private readonly RegistryFixture _registry = new();
    private TestBus? _bus;

    private TestBus Bus => _bus!;

    public async ValueTask InitializeAsync()
    {
        await _registry.InitializeAsync();
        _registry.Start();
        _bus = await _registry.BusAsync();
        await _bus.ListenAsync<ModelVersionRegistered>();
    }

    public async ValueTask DisposeAsync()
    {
        await Bus.DisposeAsync();
        await _registry.DisposeAsync();
    }

    [Fact]
    public async Task ModelTrained_DeliveredTwiceAndAgainUnderAnotherId_IsOneVersion()
    {
        var (trained, messageId) = (await TrainedAsync("m", "manifest"), Guid.CreateVersion7());

        var again = Guid.CreateVersion7();
        await Bus.PublishAsync(trained, messageId);
        await Bus.PublishAsync(trained, messageId);
        await Bus.PublishAsync(trained, again);
        var other = await TrainedAsync("m", "manifest");
        await Bus.PublishAsync(other);
        await Bus.ReceiveAsync<ModelVersionRegistered>(m => m.SourceId == other.RunId);
        await _registry.Database.HandledAsync(messageId, again);
        await Bus.ReceiveAsync<ModelVersionRegistered>(m => m.SourceId == trained.RunId);
        await _registry.Database.ToldAsync();

        var versions = (await _registry.GetAsync<Page<VersionView>>("/api/v1/models/m/versions")).Items;
        Assert.Equal(2, versions.Count);
        var version = versions.Single(v => v.SourceId == trained.RunId);
        Assert.Equal(("bob", SourceKind.Run, 0.97), (version.Author, version.SourceKind, version.Metrics["accuracy"]));
        Assert.Equal(["model.json", "model.onnx"], version.Artifacts.Select(a => a.Name));
        Assert.Equal(2, Bus.Received<ModelVersionRegistered>().Count);
    }

    [Fact]
    public async Task ModelTrained_BlobMissing_GoesToTheErrorQueueAndLeavesNoVersion()
    {
        var trained = await TrainedAsync("m", "manifest") with
        {
            Artifacts = [new Artifact { Name = "model.onnx", Sha256 = new string('d', 64), Bytes = 1, MediaType = "application/octet-stream" }],
        };

        await Bus.PublishAsync(trained);

        await Eventually.True(async () => await _registry.Vhost.QueueLengthAsync("registry-model-trained_error") == 1);
        Assert.Equal(System.Net.HttpStatusCode.NotFound, (await _registry.Ann.GetAsync("/api/v1/models/m")).StatusCode);
    }

    [Fact]
    public async Task Lineage_OfACompressedVersion_ReachesTheSourceBytes()
    {
        var dataset = await PreparedAsync("shard");
        await Bus.PublishAsync(dataset);
        var trained = await TrainedAsync("m", dataset.ManifestSha256, dataset.DatasetId);
        await Bus.PublishAsync(trained);
        await Bus.ReceiveAsync<ModelVersionRegistered>(m => m.Version == 1);
        var compressed = new ModelCompressed
        {
            CompressionId = Guid.CreateVersion7(), ModelName = "m", ParentVersion = 1, Owner = "eve", Method = "int8Static",
            Artifacts = [await ArtifactAsync("model.onnx", RegistryFixture.Onnx("int8"))], Metrics = new Dictionary<string, double> { ["accuracy"] = 0.96 }, At = DateTimeOffset.UtcNow,
        };
        await Bus.PublishAsync(compressed);
        await Bus.ReceiveAsync<ModelVersionRegistered>(m => m.Version == 2);
        await Eventually.True(async () => (await LineageAsync(2)).Steps.Any(s => s.By == "dan"));

        var lineage = await LineageAsync(2);

        Assert.Equal(["modelVersion", "compression", "modelVersion", "run", "dataset", "source"], lineage.Steps.Select(s => s.Kind));
        Assert.Equal([lineage.VersionId, compressed.CompressionId, lineage.Steps[2].Id, trained.RunId, dataset.DatasetId, null], lineage.Steps.Select(s => s.Id));
        Assert.Equal((dataset.ManifestSha256, s_source), (lineage.DatasetManifestSha256, lineage.SourceSha256));
        Assert.Equal(s_source, lineage.Steps[^1].Sha256);
        Assert.Equal(1, lineage.Steps[2].Version);
    }

    [Fact]
    public async Task Lineage_BeforeTheDatasetsMessageHasCome_ReadsTheManifest()
    {
        var dataset = await PreparedAsync("early");
        await Bus.PublishAsync(await TrainedAsync("m", dataset.ManifestSha256));
        await Bus.ReceiveAsync<ModelVersionRegistered>();

        Assert.Equal(s_source, (await LineageAsync(1)).SourceSha256);
    }

    [Fact]
    public async Task Lineage_OfADeletedVersion_StillAnswers()
    {
        var dataset = await PreparedAsync("deleted");
        await Bus.PublishAsync(await TrainedAsync("m", dataset.ManifestSha256));
        var version = await Bus.ReceiveAsync<ModelVersionRegistered>();
        (await _registry.Ann.DeleteAsync("/api/v1/models/m")).EnsureSuccessStatusCode();

        var lineage = await _registry.GetAsync<LineageView>($"/api/v1/models/versions/{version.VersionId}/lineage");

        Assert.Equal(("m", 1, s_source), (lineage.ModelName, lineage.Version, lineage.SourceSha256));
    }

    [Fact]
    public async Task DatasetPrepared_KeepsWhatItsManifestNames_UntilTheDatasetIsDeleted()
    {
        var dataset = await PreparedAsync("kept shard");
        var stored = _registry.BytesOnDisk;
        await Bus.PublishAsync(dataset);
        await Eventually.True(async () => await _registry.Database.ScalarAsync<long>("select count(*) from datasets") == 1);

        var kept = await CollectAsync();
        await Bus.PublishAsync(new DatasetDeleted { DatasetId = dataset.DatasetId, Actor = "dan", At = DateTimeOffset.UtcNow });
        await Eventually.True(async () => await _registry.Database.ScalarAsync<long>("select count(*) from blob_references") == 0);
        var freed = await CollectAsync();

        Assert.Equal((0, stored), (kept.Bytes, freed.Bytes));
        Assert.Equal(0, _registry.BytesOnDisk);
    }

    [Fact]
    public async Task DatasetPrepared_AfterItsDeletion_KeepsNoBlobs()
    {
        // Each message has a queue of its own: a fault of the first one's consumer lets the second pass it.
        var dataset = await PreparedAsync("late shard");
        await Bus.PublishAsync(new DatasetDeleted { DatasetId = dataset.DatasetId, Actor = "dan", At = DateTimeOffset.UtcNow });
        await Eventually.True(async () => await _registry.Database.ScalarAsync<long>("select count(*) from audit_entries where action = 'dataset.released'") == 1);
        await Bus.PublishAsync(dataset);
        await Eventually.True(async () => await _registry.Database.ScalarAsync<long>("select count(*) from datasets") == 1);

        await CollectAsync();

        Assert.Equal(0, _registry.BytesOnDisk);
    }

    private Task<LineageView> LineageAsync(int version) => _registry.GetAsync<LineageView>($"/api/v1/models/m/versions/{version}/lineage");

    private async Task<GarbageReport> CollectAsync() =>
        await RegistryFixture.ReadAsync<GarbageReport>(await _registry.Admin.PostAsync("/api/v1/registry/gc?graceSeconds=0", null));

    private async Task<DatasetPrepared> PreparedAsync(string shard)
    {
        var manifest = JsonSerializer.SerializeToUtf8Bytes(new
        {
            format = "deepseek.dataset/1",
            splits = new { train = new { shards = new[] { new { sha256 = await _registry.UploadAsync(shard) } } } },
            source = new { sha256 = s_source },
        });
        return new DatasetPrepared
        {
            DatasetId = Guid.CreateVersion7(), Name = "d", Owner = "dan", ManifestSha256 = await _registry.UploadAsync(manifest), SourceSha256 = s_source,
            Rows = 569, Kind = "tabular", Task = "classification", At = DateTimeOffset.UtcNow,
        };
    }

    private async Task<ModelTrained> TrainedAsync(string model, string manifest, Guid? datasetId = null) => new()
    {
        RunId = Guid.CreateVersion7(), ModelName = model, Owner = "bob", DatasetId = datasetId ?? Guid.CreateVersion7(), DatasetManifestSha256 = manifest,
        Artifacts = [await ArtifactAsync("model.onnx", RegistryFixture.Onnx("fp32")), await ArtifactAsync("model.json", "{}"u8.ToArray())],
        Metrics = new Dictionary<string, double> { ["accuracy"] = 0.97 }, Framework = "deepseek.engine/0.1.0", At = DateTimeOffset.UtcNow,
    };

    private async Task<Artifact> ArtifactAsync(string name, byte[] bytes) => new()
    {
        Name = name, Sha256 = await _registry.UploadAsync(bytes), Bytes = bytes.Length, MediaType = "application/octet-stream",
    };
}
