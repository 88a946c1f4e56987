using System.Net;
using System.Net.Http.Json;
using DeepSeek.Registry.Blobs;
using DeepSeek.Registry.Models;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Registry.Tests;

public sealed class CollectorTests : IAsyncLifetime
{
    private readonly RegistryFixture _registry = new();

    public ValueTask InitializeAsync() => _registry.InitializeAsync();

    public ValueTask DisposeAsync() => _registry.DisposeAsync();

    [Fact]
    public async Task Collect_DeletedVersion_FreesItsBytesOnDisk()
    {
        var onnx = RegistryFixture.Onnx(new string('x', 100_000));
        await _registry.RegisterAsync("big", onnx);
        var before = _registry.BytesOnDisk;

        (await _registry.Ann.DeleteAsync("/api/v1/models/big/versions/1")).EnsureSuccessStatusCode();
        var report = await CollectAsync();

        Assert.Equal(new GarbageReport(1, onnx.Length), report);
        Assert.Equal(before - onnx.Length, _registry.BytesOnDisk);
        Assert.Equal(HttpStatusCode.NotFound, (await _registry.Ann.GetAsync($"/api/v1/blobs/{BlobHash.Of(onnx)}")).StatusCode);
    }

    [Fact]
    public async Task Collect_BlobSharedByTwoVersions_IsKeptUntilBothAreGone()
    {
        var onnx = RegistryFixture.Onnx("shared");
        await _registry.RegisterAsync("one", onnx);
        await _registry.RegisterAsync("two", onnx);

        (await _registry.Ann.DeleteAsync("/api/v1/models/one")).EnsureSuccessStatusCode();
        var first = await CollectAsync();
        var kept = await _registry.Ann.GetByteArrayAsync($"/api/v1/blobs/{BlobHash.Of(onnx)}");
        (await _registry.Ann.DeleteAsync("/api/v1/models/two")).EnsureSuccessStatusCode();
        var second = await CollectAsync();

        Assert.Equal(0, first.Bytes);
        Assert.Equal(onnx, kept);
        Assert.Equal(onnx.Length, second.Bytes);
        Assert.Equal(0, _registry.BytesOnDisk);
    }

    [Fact]
    public async Task Collect_WithinTheGrace_KeepsUnreferencedBlobs()
    {
        await _registry.UploadAsync("young");

        var report = await CollectAsync(graceSeconds: null); // 24 hours
        var hour = await CollectAsync(graceSeconds: 3600);

        Assert.Equal((0, 0), (report.Bytes, hour.Bytes));
        Assert.Equal(5, _registry.BytesOnDisk);
    }

    [Fact]
    public async Task Collect_FileWithoutARow_IsSwept()
    {
        var sha256 = await _registry.UploadAsync("orphan");
        await _registry.TamperAsync($"delete from blobs where sha256 = '{sha256}'"); // as a kill between rename and commit leaves it

        var report = await CollectAsync();

        Assert.Equal(new GarbageReport(0, 6), report);
        Assert.Equal(0, _registry.BytesOnDisk);
    }

    [Fact]
    public async Task Collect_WhileVersionsAreRegistered_NeverLosesABlob()
    {
        _registry.Start();
        using var stop = new CancellationTokenSource();
        var collecting = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
                await CollectAsync();
        }, TestContext.Current.CancellationToken);

        var registered = new List<VersionView>();
        for (var i = 0; i < 30; i++)
        {
            // The collector, with no grace at all, may take the blob before it is referenced: then the registration says so and is repeated.
            var onnx = RegistryFixture.Onnx((i % 5).ToString());
            VersionView? version = null;
            while (version is null)
                version = await TryRegisterAsync(onnx);
            registered.Add(version);
        }

        await stop.CancelAsync();
        await collecting;
        foreach (var version in registered)
        {
            var artifact = version.Artifacts.Single();
            Assert.Equal(artifact.Sha256, BlobHash.Of(await _registry.Ann.GetByteArrayAsync($"/api/v1/blobs/{artifact.Sha256}")));
        }
    }

    [Fact]
    public async Task References_OfAnotherService_KeepABlob()
    {
        var service = _registry.ClientOf(Roles.Service, "service:explainability");
        var sha256 = await _registry.UploadAsync("report");
        var path = $"/api/v1/registry/references/explanation/{Guid.CreateVersion7()}";

        (await service.PutAsJsonAsync(path, new { sha256 = new[] { sha256 } })).EnsureSuccessStatusCode();
        var kept = await CollectAsync();
        (await service.DeleteAsync(path)).EnsureSuccessStatusCode();
        var freed = await CollectAsync();

        Assert.Equal((0, 6), (kept.Bytes, freed.Bytes));
        Assert.Equal(HttpStatusCode.Forbidden, (await _registry.Admin.DeleteAsync(path)).StatusCode);
    }

    [Fact]
    public async Task Collect_WithoutAdminRole_IsForbidden() =>
        Assert.Equal(HttpStatusCode.Forbidden, (await _registry.Ann.PostAsync("/api/v1/registry/gc", null)).StatusCode);

    private async Task<GarbageReport> CollectAsync(int? graceSeconds = 0) =>
        await RegistryFixture.ReadAsync<GarbageReport>(await _registry.Admin.PostAsync($"/api/v1/registry/gc{(graceSeconds is null ? "" : $"?graceSeconds={graceSeconds}")}", null));

    private async Task<VersionView?> TryRegisterAsync(byte[] onnx)
    {
        var sha256 = BlobHash.Of(onnx);
        using var put = await _registry.PutAsync(sha256, onnx);
        using var response = await _registry.Ann.PostAsJsonAsync("/api/v1/models/contended/versions", new { artifacts = new[] { new { name = "model.onnx", sha256 } } });
        if (response.StatusCode == HttpStatusCode.BadRequest)
        {
            Assert.Contains("not stored", await response.Content.ReadAsStringAsync());
            return null;
        }

        return await RegistryFixture.ReadAsync<VersionView>(response);
    }
}
