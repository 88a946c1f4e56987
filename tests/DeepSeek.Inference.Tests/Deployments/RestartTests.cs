using System.Net;
using System.Net.Http.Json;
using System.Text;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Inference.Tests.Deployments;

/// <summary>Two replicas as processes of their own over one database, and their sudden ends.</summary>
public sealed class RestartTests : IAsyncLifetime
{
    private readonly TestDatabase _database = new();
    private readonly TestVhost _vhost = new();
    private readonly TestFolder _data = new();
    private readonly List<ServiceProcess> _replicas = [];
    private RegistryPeer? _registry;

    public async ValueTask InitializeAsync()
    {
        await _database.InitializeAsync();
        await _vhost.InitializeAsync();
        _registry = await RegistryPeer.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var replica in _replicas)
        {
            await replica.DisposeAsync();
        }

        await _registry!.DisposeAsync();
        await _vhost.DisposeAsync();
        await _database.DisposeAsync();
        _data.Dispose();
    }

    [Fact]
    public async Task Replicas_KilledAndStartedAgain_ConvergeOnWhatTheDatabaseSays()
    {
        var (first, second) = (await StartAsync(), await StartAsync());
        using var one = first.ClientOf(Roles.Operator);
        _registry!.Add("m", Models.Regressor(1));
        _registry.Add("m", Models.Regressor(2));
        _registry.Add("m", Models.Regressor(3));
        _registry.Point("m", "production", 1);
        using (var put = await one.PutAsJsonAsync("/api/v1/deployments/m", new { model = "m", @ref = "production" }))
        {
            Assert.Equal(HttpStatusCode.OK, put.StatusCode);
        }

        // The other replica serves at once what it has hardly heard of.
        Assert.Equal(1, await PredictAsync(second));

        await second.KillAsync();
        _registry.Point("m", "production", 2);
        await using (var bus = await TestBus.StartAsync(_vhost.ConnectionString))
        {
            await bus.PublishAsync(new AliasMoved
            {
                ModelName = "m", Alias = "production", Version = 2, VersionId = Guid.Empty, PreviousVersion = 1, Actor = "t", At = DateTimeOffset.UtcNow,
            });
        }

        await Eventually.True(async () => await PredictAsync(first) == 2);
        var third = await StartAsync();
        Assert.Equal(2, await PredictAsync(third));

        // No event, no registry: the database and the cache of blobs are enough for a start.
        await first.KillAsync();
        await third.KillAsync();
        _registry.Down = true;
        var fourth = await StartAsync();
        using var four = fourth.ClientOf(Roles.Operator);
        Assert.Equal(2, await PredictAsync(fourth));
        using (var put = await four.PutAsJsonAsync("/api/v1/deployments/other", new { model = "m", @ref = "1" }))
        {
            await put.ProblemAsync(503);
        }

        // An alias that moved while nobody listened is found by polling.
        _registry.Point("m", "production", 3);
        _registry.Down = false;
        await Eventually.True(async () => await PredictAsync(fourth) == 3);
    }

    private static async Task<float> PredictAsync(ServiceProcess replica)
    {
        using var client = replica.ClientOf(Roles.Operator);
        using var content = new StringContent("""{"rows": [{"x": 1}]}""", Encoding.UTF8, "application/json");
        return (await (await client.PostAsync("/api/v1/deployments/m/predict", content)).JsonAsync())
            .GetProperty("predictions")[0].GetProperty("prediction").GetSingle();
    }

    private async Task<ServiceProcess> StartAsync()
    {
        var replica = new ServiceProcess("DeepSeek.Inference")
            .With("ConnectionStrings:inferencedb", _database.ConnectionString)
            .With("ConnectionStrings:messaging", _vhost.ConnectionString)
            .With(DataDirectories.Variable, _data.Path)
            .With("services:registry:http:0", _registry!.Address.AbsoluteUri)
            .With("Inference:PollSeconds", "1");
        _replicas.Add(replica);
        await replica.StartAsync();
        return replica;
    }
}
