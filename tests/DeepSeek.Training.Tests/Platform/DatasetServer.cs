using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace DeepSeek.Training.Tests.Platform;

/// <summary>Answers as preprocessing does about datasets that the test made.</summary>
internal sealed class DatasetServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<Guid, object> _datasets = new();

    private DatasetServer()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        _app = builder.Build();
        _app.MapGet("/api/v1/datasets/{id:guid}", (Guid id) => _datasets.TryGetValue(id, out var view) ? Results.Ok(view) : Results.NotFound());
    }

    public Uri Address => new(_app.Urls.First());

    public static async Task<DatasetServer> StartAsync()
    {
        var server = new DatasetServer();
        await server._app.StartAsync();
        return server;
    }

    public void Add(SmallDataset dataset) => _datasets[dataset.Id] = new
    {
        dataset.Id, State = "ready", dataset.ManifestSha256, Kind = "tabular", Task = "classification",
        Summary = new { Target = "side", Classes = new[] { "left", "right" } },
    };

    public Guid AddUnready(string state)
    {
        var id = Guid.NewGuid();
        _datasets[id] = new { Id = id, State = state, ManifestSha256 = (string?)null, Kind = (string?)null, Task = (string?)null };
        return id;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
