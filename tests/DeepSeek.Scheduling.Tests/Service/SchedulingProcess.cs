using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Service;

/// <summary>The service as a process of its own, on one port for all its lives, so that it can be killed.</summary>
internal sealed class SchedulingProcess(TestDatabase database, TestVhost vhost, int leaseSeconds, int acceptSeconds) : IAsyncDisposable
{
    private Process? _process;

    public Uri Address { get; } = new($"http://127.0.0.1:{FreePort()}");

    public HttpClient Client(string role) => new HttpClient { BaseAddress = Address }.As(role);

    public async Task StartAsync()
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "DeepSeek.Scheduling.dll")])
        {
            Environment =
            {
                ["ASPNETCORE_URLS"] = Address.AbsoluteUri,
                ["ConnectionStrings__schedulingdb"] = database.ConnectionString,
                ["ConnectionStrings__messaging"] = vhost.ConnectionString,
                ["Identity__SigningKey"] = TestIdentity.SigningKey,
                ["Logging__LogLevel__Default"] = "Error",
            },
        };
        foreach (var (key, value) in SchedulingTestExtensions.Times(leaseSeconds, acceptSeconds))
        {
            start.Environment[key.Replace(":", "__")] = value;
        }
        _process = Process.Start(start)!;
        using var client = Client(Roles.Reader);
        await Eventually.True(async () =>
        {
            try
            {
                using var health = await client.GetAsync("/health");
                return health.IsSuccessStatusCode;
            }
            catch (HttpRequestException)
            {
                return false;
            }
        }, TimeSpan.FromSeconds(90), "Scheduling is healthy");
    }

    /// <summary>As <c>kill -9</c>.</summary>
    public async Task KillAsync()
    {
        if (_process is { HasExited: false })
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }
        _process?.Dispose();
        _process = null;
    }

    public async ValueTask DisposeAsync() => await KillAsync();

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
