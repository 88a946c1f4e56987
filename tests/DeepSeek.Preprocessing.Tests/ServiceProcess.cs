using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Preprocessing.Tests;

/// <summary>The service as a process of its own, with one port and one data folder for all its lives, so that it can be killed and weighed.</summary>
internal sealed class ServiceProcess : IAsyncDisposable
{
    private readonly TestFolder _data = new();
    private Process? _process;

    private ServiceProcess(Peers peers) => Peers = peers;

    public TestDatabase Database { get; } = new();
    public TestVhost Vhost { get; } = new();
    public Peers Peers { get; }
    public Uri Address { get; } = new($"http://127.0.0.1:{FreePort()}");
    public string Spool => Path.Combine(_data.Path, "preprocessing", "spool");
    public string Scratch => Path.Combine(_data.Path, "preprocessing", "scratch");

    /// <summary>Highest resident size since the process started, as the kernel counted it.</summary>
    public long PeakBytes => 1024 * long.Parse(
        File.ReadLines($"/proc/{_process!.Id}/status").Single(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    public TimeSpan ProcessorTime => _process!.TotalProcessorTime;

    public static async Task<ServiceProcess> CreateAsync()
    {
        var process = new ServiceProcess(await Peers.StartAsync());
        await process.Database.InitializeAsync();
        await process.Vhost.InitializeAsync();
        await process.StartAsync();
        return process;
    }

    public HttpClient Client() => new HttpClient { BaseAddress = Address, Timeout = TimeSpan.FromMinutes(10) }.As(Roles.Operator);

    public async Task StartAsync()
    {
        _process = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "DeepSeek.Preprocessing.dll")])
        {
            WorkingDirectory = AppContext.BaseDirectory,
            Environment =
            {
                ["ASPNETCORE_URLS"] = Address.AbsoluteUri,
                ["ConnectionStrings__preprocessingdb"] = Database.ConnectionString,
                ["ConnectionStrings__messaging"] = Vhost.ConnectionString,
                ["services__registry__http__0"] = Peers.Address.AbsoluteUri,
                ["services__scheduling__http__0"] = Peers.Address.AbsoluteUri,
                ["Identity__SigningKey"] = TestIdentity.SigningKey,
                ["DEEPSEEK_DATA"] = _data.Path,
                ["Logging__LogLevel__Default"] = "Error",
            },
        })!;
        using var client = new HttpClient { BaseAddress = Address };
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
        }, TimeSpan.FromSeconds(120), "the service is healthy");
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

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        await Peers.DisposeAsync();
        await Vhost.DisposeAsync();
        await Database.DisposeAsync();
        _data.Dispose();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
