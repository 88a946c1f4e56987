using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>The running service beside a stand-in for the registry and Scheduling.</summary>
public sealed class ServiceFixture : ServiceFactory<PreprocessingDb>
{
    private HttpClient? _operator;

    public ServiceFixture() : base("preprocessing")
    {
    }

    public Peers Peers { get; private set; } = null!;

    /// <summary>Everything the service has logged, down to debug.</summary>
    public ConcurrentQueue<string> Logs { get; } = new();

    /// <summary>Starts the service.</summary>
    public HttpClient Operator => _operator ??= ClientOf(Roles.Operator);

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Peers = await Peers.StartAsync();
        WithPeer("registry", Peers.Address).WithPeer("scheduling", Peers.Address);
    }

    protected override void ConfigureWebHost(IWebHostBuilder builder)
    {
        base.ConfigureWebHost(builder);
        builder.ConfigureLogging(logging => logging.AddProvider(new Recorder(Logs)).AddFilter<Recorder>(null, LogLevel.Debug));
    }

    public override async ValueTask DisposeAsync()
    {
        _operator?.Dispose();
        await base.DisposeAsync();
        if (Peers is not null)
        {
            await Peers.DisposeAsync();
        }
    }

    public static MultipartFormDataContent Form(string spec, params (string Name, byte[] Content)[] files)
    {
        var form = new MultipartFormDataContent { { new StringContent(spec, Encoding.UTF8, "application/json"), "spec" } };
        foreach (var (name, content) in files)
        {
            var part = new ByteArrayContent(content);
            part.Headers.ContentDisposition = new ContentDispositionHeaderValue("form-data") { Name = "file", FileName = $"\"{name}\"" };
            form.Add(part);
        }
        return form;
    }

    public async Task<(Guid Id, Guid JobId)> UploadAsync(string spec, string csv) => await UploadAsync(Operator, spec, ("data.csv", Encoding.UTF8.GetBytes(csv)));

    public static async Task<(Guid Id, Guid JobId)> UploadAsync(HttpClient client, string spec, params (string Name, byte[] Content)[] files)
    {
        using var response = await client.PostAsync("/api/v1/datasets", Form(spec, files));
        var body = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == System.Net.HttpStatusCode.Accepted, body);
        var json = JsonDocument.Parse(body).RootElement;
        var id = json.GetProperty("id").GetGuid();
        Assert.Equal($"/api/v1/datasets/{id}", response.Headers.Location!.ToString());
        return (id, json.GetProperty("jobId").GetGuid());
    }

    public static Task RunAsync(TestBus bus, Guid jobId, Guid id, int attempt = 1, Guid? lease = null) =>
        bus.SendAsync(JobKinds.Queue(JobKinds.Prepare), new RunJob
        {
            JobId = jobId,
            Kind = JobKinds.Prepare,
            SubjectId = id,
            LeaseId = lease ?? Guid.NewGuid(),
            Attempt = attempt,
            LeaseSeconds = 30,
        });

    public static async Task<JsonElement> GetAsync(HttpClient client, string path)
    {
        using var response = await client.GetAsync(path);
        var body = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode} {body}");
        return JsonDocument.Parse(body).RootElement;
    }

    public static async Task<JsonElement> EndAsync(HttpClient client, Guid id, TimeSpan? deadline = null)
    {
        JsonElement dataset = default;
        await Eventually.True(async () =>
        {
            dataset = await GetAsync(client, $"/api/v1/datasets/{id}");
            return dataset.GetProperty("state").GetString() is "ready" or "failed" or "cancelled";
        }, deadline ?? TimeSpan.FromSeconds(90), "the dataset has ended");
        return dataset;
    }

    [ProviderAlias("Recorder")]
    private sealed class Recorder(ConcurrentQueue<string> lines) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            lines.Enqueue(formatter(state, exception) + exception);

        public void Dispose()
        {
        }
    }
}
