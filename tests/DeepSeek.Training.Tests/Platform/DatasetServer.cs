using System.Collections.Concurrent;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Training.Tests.Platform;

/// <summary>Answers as preprocessing does about datasets that the test made.</summary>
internal sealed class DatasetServer : StubServer
{
    private readonly ConcurrentDictionary<Guid, object> _datasets = new();

    private DatasetServer() =>
        Server.MapGet("/api/v1/datasets/{id:guid}", (Guid id) => _datasets.TryGetValue(id, out var view) ? Results.Ok(view) : Results.NotFound());

    public static Task<DatasetServer> StartAsync() => StartedAsync(new DatasetServer());

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
}
