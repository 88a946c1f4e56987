using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Compression.Tests.Nets;
using DeepSeek.Contracts;
using DeepSeek.Contracts.Compression;
using DeepSeek.Contracts.Registry;
using DeepSeek.Onnx;
using DeepSeek.Registry;
using DeepSeek.Scheduling;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.Testing;
using Microsoft.Extensions.DependencyInjection;
using Onnx;

namespace DeepSeek.Compression.Tests.Service;

/// <summary>The service beside a real registry and a real scheduling service, all on one virtual host.</summary>
public sealed class CompressionFixture() : ServiceFactory<CompressionDb>(ResourceNames.Compression)
{
    private readonly ServiceFactory<RegistryDb> _registry = new(ResourceNames.Registry);
    private readonly ServiceFactory<SchedulingDb> _scheduling = new(ResourceNames.Scheduling);

    public FashionNet Net => FashionNet.Shared;
    public TestBus Bus { get; private set; } = null!;
    public HttpClient Registry { get; private set; } = null!;
    public HttpClient Jobs { get; private set; } = null!;
    public HttpClient Client { get; private set; } = null!;
    public BlobClient Blobs => Services.GetRequiredService<BlobClient>();

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        await _registry.InitializeAsync();
        await _scheduling.InitializeAsync();
        _registry.With($"ConnectionStrings:{ResourceNames.Messaging}", Vhost.ConnectionString);
        _scheduling.With($"ConnectionStrings:{ResourceNames.Messaging}", Vhost.ConnectionString).With("Scheduling:LeaseSeconds", "60").With("Scheduling:AcceptSeconds", "60").With("Scheduling:WorkerTimeoutSeconds", "300");
        WithPeer(ResourceNames.Registry, _registry.Address);
        WithPeer(ResourceNames.Scheduling, _scheduling.Address);
        With("Compression:TimedRuns", "200");
        Start();
        Client = ClientOf(Roles.Operator, "ada");
        Registry = _registry.ClientOf(Roles.Admin, "ada");
        Jobs = _scheduling.ClientOf(Roles.Admin, "ada");
        Bus = await BusAsync();
        await Bus.ListenAsync<ModelCompressed>();
        await Bus.ListenAsync<ModelVersionRegistered>();
    }

    public override async ValueTask DisposeAsync()
    {
        await Bus.DisposeAsync();
        await base.DisposeAsync();
        await _scheduling.DisposeAsync();
        await _registry.DisposeAsync();
    }

    /// <summary>Registers a model of a new name and returns the name.</summary>
    public async Task<string> RegisterAsync(ModelProto model, string? manifest)
    {
        var name = "m" + Guid.NewGuid().ToString("N")[..10];
        var onnx = await Blobs.UploadAsync(OnnxModels.ToBytes(model));
        var card = await Blobs.UploadAsync("""{"architecture":{"family":"test"},"seed":7}"""u8.ToArray(), "application/json");
        var reply = await Registry.PostAsJsonAsync($"/api/v1/models/{name}/versions", new
        {
            artifacts = new[] { new { name = "model.onnx", sha256 = onnx.Sha256 }, new { name = "model.json", sha256 = card.Sha256 } },
            datasetManifestSha256 = manifest,
        });
        Assert.True(reply.IsSuccessStatusCode, await reply.Content.ReadAsStringAsync());
        return name;
    }

    /// <summary>Asks for a compression and waits until it has ended.</summary>
    public async Task<JsonElement> CompressAsync(object spec)
    {
        var reply = await Client.PostAsJsonAsync("/api/v1/compressions", spec);
        Assert.True(reply.StatusCode == System.Net.HttpStatusCode.Accepted, await reply.Content.ReadAsStringAsync());
        var id = (await reply.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("id").GetGuid();
        JsonElement view = default;
        await Eventually.True(async () =>
        {
            view = await Client.GetFromJsonAsync<JsonElement>($"/api/v1/compressions/{id}");
            return view.GetProperty("state").GetString() is not ("queued" or "running");
        }, TimeSpan.FromMinutes(2));
        return view;
    }

    /// <summary>The job's state once it is final.</summary>
    public async Task<JsonElement> EndedJobAsync(JsonElement compression)
    {
        JsonElement job = default;
        await Eventually.True(async () =>
        {
            var reply = await Jobs.GetAsync($"/api/v1/jobs/{compression.GetProperty("jobId").GetGuid()}");
            if (!reply.IsSuccessStatusCode)
                return false;
            job = await reply.Content.ReadFromJsonAsync<JsonElement>();
            return job.GetProperty("state").GetString() is "succeeded" or "failed" or "cancelled";
        });
        return job;
    }
}
