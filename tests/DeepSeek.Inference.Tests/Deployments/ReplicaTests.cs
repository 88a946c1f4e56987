using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Npgsql;

namespace DeepSeek.Inference.Tests.Deployments;

/// <summary>Two replicas with a cache each, of which one loads later: what the deployment's state says is true for both.</summary>
public sealed class ReplicaTests : IAsyncLifetime
{
    private readonly TestDatabase _database = new();
    private readonly TestVhost _vhost = new();
    private readonly TestFolder[] _data = [new(), new()];
    private RegistryPeer _registry = null!;
    private ServiceProcess[] _replicas = [];
    private HttpClient[] _clients = [];

    public async ValueTask InitializeAsync()
    {
        await _database.InitializeAsync();
        await _vhost.InitializeAsync();
        _registry = await RegistryPeer.StartAsync();
        _replicas = [.. _data.Select(folder => new ServiceProcess("DeepSeek.Inference")
            .With("ConnectionStrings:inferencedb", _database.ConnectionString)
            .With("ConnectionStrings:messaging", _vhost.ConnectionString)
            .With(DataDirectories.Variable, folder.Path)
            .With("services:registry:http:0", _registry.Address.AbsoluteUri)
            .With("Inference:ChangeWaitSeconds", "2")
            .With("Inference:ResolveWaitSeconds", "60")
            .With("Inference:LoadWaitSeconds", "60")
            .With("Inference:PollSeconds", "1"))];
        await Task.WhenAll(_replicas.Select(replica => replica.StartAsync()));
        _clients = [.. _replicas.Select(replica => replica.ClientOf(Roles.Operator))];
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var replica in _replicas)
        {
            await replica.DisposeAsync();
        }

        await _registry.DisposeAsync();
        await _vhost.DisposeAsync();
        await _database.DisposeAsync();
        Array.ForEach(_clients, client => client.Dispose());
        Array.ForEach(_data, folder => folder.Dispose());
    }

    [Fact]
    public async Task State_IsReadyOnlyWhenEveryReplicaServesTheVersion()
    {
        _registry.Add("m", Models.Regressor(1));
        var second = _registry.Add("m", Models.Regressor(2));
        var third = _registry.Add("m", Models.Regressor(3));
        _registry.Point("m", "production", 1);
        await PutAsync("production");
        await ReadyAsync();
        Assert.All(await StatesAsync(), state => Assert.Equal(("ready", 1, 2), state));
        await PredictAsync(1, 1);

        // One replica cannot get the bytes: the alias has moved, one serves the new version, the other the old one.
        var release = new TaskCompletionSource();
        _registry.Held[second.Sha256] = release.Task;
        _registry.Point("m", "production", 2);
        Assert.All(await StatesAsync(), state => Assert.Equal(("rolling", 2, 2), state)); // no replica has heard of it
        await MovedAsync();
        await Eventually.True(async () => (await PredictionsAsync()).Order().SequenceEqual([1, 2]));
        Assert.All(await StatesAsync(), state => Assert.Equal(("rolling", 2, 2), state));
        release.SetResult();
        await ReadyAsync();
        await PredictAsync(2, 2);

        // The same for a change of the deployment itself: 202 says that it goes on.
        release = new TaskCompletionSource();
        _registry.Held[third.Sha256] = release.Task;
        Assert.Equal(HttpStatusCode.Accepted, await PutAsync("3"));
        Assert.All(await StatesAsync(), state => Assert.Equal(("rolling", 3, 2), state));
        release.SetResult();
        await ReadyAsync();
        await PredictAsync(3, 3);
    }

    /// <summary>The life of a replica without beats is 15 s: a stall of 9 s keeps it, and a kill is known well within the minute it once took.</summary>
    [Fact]
    public async Task State_ReplicaThatStallsOrIsKilled_CountsUntilItsLifeIsOver()
    {
        _registry.Add("m", Models.Regressor(1));
        _registry.Add("m", Models.Regressor(2));
        _registry.Point("m", "production", 1);
        await PutAsync("production");
        await ReadyAsync();
        await using var database = NpgsqlDataSource.Create(_database.ConnectionString);
        await using var oldest = database.CreateCommand("select extract(epoch from max(now() - seen_at))::float8 from replicas");

        _replicas[1].Signal("STOP");
        await Eventually.True(async () => (double)(await oldest.ExecuteScalarAsync())! > 9);
        Assert.Equal(("ready", 1, 2), await StateAsync(_clients[0]));
        _replicas[1].Signal("CONT");
        await Eventually.True(async () => (double)(await oldest.ExecuteScalarAsync())! < 3);
        Assert.Equal(("ready", 1, 2), await StateAsync(_clients[0]));

        await _replicas[1].KillAsync();
        await using var lastBeat = database.CreateCommand("select min(seen_at) from replicas");
        var last = (DateTime)(await lastBeat.ExecuteScalarAsync())!;
        _registry.Point("m", "production", 2);
        Assert.Equal(("rolling", 2, 2), await StateAsync(_clients[0]));
        await Eventually.True(async () => await StateAsync(_clients[0]) == ("ready", 2, 1));
        await using var now = database.CreateCommand("select now()");
        Assert.InRange((DateTime)(await now.ExecuteScalarAsync())! - last, TimeSpan.FromSeconds(15), Eventually.Deadline * 2);
    }

    /// <summary>200 goes with ready, 202 with rolling.</summary>
    private async Task<HttpStatusCode> PutAsync(string reference)
    {
        using var response = await _clients[0].PutAsJsonAsync("/api/v1/deployments/m", new { model = "m", @ref = reference });
        var document = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Equal(response.StatusCode == HttpStatusCode.OK ? "ready" : "rolling", document.GetProperty("state").GetString());
        return response.StatusCode;
    }

    /// <summary>A busy machine may need longer than the reply waits.</summary>
    private async Task ReadyAsync()
    {
        foreach (var client in _clients)
        {
            await Eventually.True(async () => (await StateAsync(client)).State == "ready");
        }
    }

    private async Task MovedAsync()
    {
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.PublishAsync(new AliasMoved
        {
            ModelName = "m", Alias = "production", Version = 2, VersionId = Guid.Empty, PreviousVersion = 1, Actor = "t", At = DateTimeOffset.UtcNow,
        });
    }

    private Task<(string? State, int Target, int Replicas)[]> StatesAsync() => Task.WhenAll(_clients.Select(StateAsync));

    private static async Task<(string? State, int Target, int Replicas)> StateAsync(HttpClient client)
    {
        var document = await client.GetFromJsonAsync<JsonElement>("/api/v1/deployments/m");
        return (document.GetProperty("state").GetString(), document.GetProperty("targetVersion").GetInt32(), document.GetProperty("replicas").GetArrayLength());
    }

    private async Task PredictAsync(params float[] expected) => Assert.Equal(expected, await PredictionsAsync());

    private Task<float[]> PredictionsAsync() => Task.WhenAll(_clients.Select(async client =>
        (await (await client.PostAsJsonAsync("/api/v1/deployments/m/predict", new { rows = new[] { new { x = 1 } } })).JsonAsync())
            .GetProperty("predictions")[0].GetProperty("prediction").GetSingle()));
}
