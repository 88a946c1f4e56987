using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
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
    private readonly List<Replica> _replicas = [];
    private RegistryPeer? _registry;

    public async ValueTask InitializeAsync()
    {
        await _database.InitializeAsync();
        await _vhost.InitializeAsync();
        _registry = await RegistryPeer.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _replicas.ForEach(r => r.Dispose());
        await _registry!.DisposeAsync();
        await _vhost.DisposeAsync();
        await _database.DisposeAsync();
        _data.Dispose();
    }

    [Fact]
    public async Task Replicas_KilledAndStartedAgain_ConvergeOnWhatTheDatabaseSays()
    {
        var (first, second) = (await StartAsync(), await StartAsync());
        _registry!.Add("m", Models.Regressor(1));
        _registry.Add("m", Models.Regressor(2));
        _registry.Add("m", Models.Regressor(3));
        _registry.Point("m", "production", 1);
        using (var put = await first.Http.PutAsJsonAsync("/api/v1/deployments/m", new { model = "m", @ref = "production" }))
        {
            Assert.Equal(HttpStatusCode.OK, put.StatusCode);
        }

        // The other replica serves at once what it has hardly heard of.
        Assert.Equal(1, await PredictAsync(second));

        second.Kill();
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
        first.Kill();
        third.Kill();
        _registry.Down = true;
        var fourth = await StartAsync();
        Assert.Equal(2, await PredictAsync(fourth));
        using (var put = await fourth.Http.PutAsJsonAsync("/api/v1/deployments/other", new { model = "m", @ref = "1" }))
        {
            await put.ProblemAsync(503);
        }

        // An alias that moved while nobody listened is found by polling.
        _registry.Point("m", "production", 3);
        _registry.Down = false;
        await Eventually.True(async () => await PredictAsync(fourth) == 3);
    }

    private static async Task<float> PredictAsync(Replica replica)
    {
        using var content = new StringContent("""{"rows": [{"x": 1}]}""", Encoding.UTF8, "application/json");
        return (await (await replica.Http.PostAsync("/api/v1/deployments/m/predict", content)).JsonAsync())
            .GetProperty("predictions")[0].GetProperty("prediction").GetSingle();
    }

    private async Task<Replica> StartAsync()
    {
        var replica = new Replica(_database.ConnectionString, _vhost.ConnectionString, _data.Path, _registry!.Address);
        _replicas.Add(replica);
        using var anonymous = new HttpClient { BaseAddress = replica.Http.BaseAddress };
        await Eventually.True(async () =>
        {
            try
            {
                return (await anonymous.GetAsync("/health")).StatusCode == HttpStatusCode.OK;
            }
            catch (HttpRequestException)
            {
                return false;
            }
        }, TimeSpan.FromMinutes(2), $"health of the replica: {replica.Output}");
        return replica;
    }

    private sealed class Replica : IDisposable
    {
        private readonly Process _process;
        private readonly StringBuilder _output = new();

        public Replica(string database, string messaging, string data, Uri registry)
        {
            var address = $"http://127.0.0.1:{FreePort()}";
            var start = new ProcessStartInfo("dotnet", [typeof(InferenceOptions).Assembly.Location])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                Environment =
                {
                    ["ASPNETCORE_URLS"] = address,
                    ["ConnectionStrings__inferencedb"] = database,
                    ["ConnectionStrings__messaging"] = messaging,
                    ["Identity__SigningKey"] = TestIdentity.SigningKey,
                    ["DEEPSEEK_DATA"] = data,
                    ["services__registry__http__0"] = registry.AbsoluteUri,
                    ["Inference__PollSeconds"] = "1",
                },
            };
            _process = Process.Start(start)!;
            _process.OutputDataReceived += (_, e) => Keep(e.Data);
            _process.ErrorDataReceived += (_, e) => Keep(e.Data);
            _process.BeginOutputReadLine();
            _process.BeginErrorReadLine();
            Http = new HttpClient { BaseAddress = new Uri(address) }.As(Roles.Operator);
        }

        public HttpClient Http { get; }

        public string Output
        {
            get
            {
                lock (_output)
                {
                    return _output.ToString();
                }
            }
        }

        public void Kill()
        {
            _process.Kill();
            _process.WaitForExit();
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                Kill();
            }

            Http.Dispose();
            _process.Dispose();
        }

        private void Keep(string? line)
        {
            lock (_output)
            {
                _output.AppendLine(line);
            }
        }

        private static int FreePort()
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            return ((IPEndPoint)listener.LocalEndpoint).Port;
        }
    }
}
