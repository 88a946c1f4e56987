using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Registry.Tests;

/// <summary>The registry as a process of its own, killed while bytes are coming in.</summary>
public sealed class RestartTests : IAsyncLifetime
{
    private readonly RegistryFixture _resources = new(); // its database, broker and folder; never started in this process
    private readonly int _port = FreePort();
    private Process? _process;

    public ValueTask InitializeAsync() => _resources.InitializeAsync();

    public async ValueTask DisposeAsync()
    {
        Kill();
        await _resources.DisposeAsync();
    }

    [Fact]
    public async Task Kill9_InTheMiddleOfAnUpload_LeavesNoPartialBlobAndLosesNoWholeOne()
    {
        var whole = "a whole blob"u8.ToArray();
        await StartAsync();
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{_port}") }.As(Roles.Operator, "ann");
        (await client.PutAsync($"/api/v1/blobs/{BlobHash.Of(whole)}", new ByteArrayContent(whole))).EnsureSuccessStatusCode();

        var started = new TaskCompletionSource();
        using var content = new StallingContent(started);
        using var gone = new CancellationTokenSource();
        var upload = client.PutAsync($"/api/v1/blobs/{new string('a', 64)}", content, gone.Token);
        await started.Task.WaitAsync(Eventually.Deadline);
        await Eventually.True(() => _resources.BlobFilesOnDisk.Length == 2);
        Kill();
        await gone.CancelAsync(); // a client in the middle of its body does not see that the server has gone
        await Assert.ThrowsAnyAsync<Exception>(() => upload);
        await StartAsync();

        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync($"/api/v1/blobs/{new string('a', 64)}")).StatusCode);
        Assert.Equal(whole, await client.GetByteArrayAsync($"/api/v1/blobs/{BlobHash.Of(whole)}"));
        Assert.Single(_resources.BlobFilesOnDisk);
        Assert.Contains("\"valid\":true", await client.GetStringAsync("/api/v1/audit/verify"));
    }

    private async Task StartAsync()
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
        {
            ArgumentList = { typeof(Program).Assembly.Location },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment =
            {
                ["ASPNETCORE_URLS"] = $"http://127.0.0.1:{_port}",
                ["ConnectionStrings__registrydb"] = _resources.Database.ConnectionString,
                ["ConnectionStrings__messaging"] = _resources.Vhost.ConnectionString,
                ["Identity__SigningKey"] = TestIdentity.SigningKey,
                ["Registry__ReserveBytes"] = "0",
                [DataDirectories.Variable] = _resources.DataFolder,
            },
        };
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, _) => { };
        _process.ErrorDataReceived += (_, _) => { };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{_port}") };
        await Eventually.True(async () =>
        {
            try
            {
                return (await client.GetAsync("/alive")).IsSuccessStatusCode;
            }
            catch (HttpRequestException)
            {
                return false;
            }
        }, TimeSpan.FromMinutes(2));
    }

    private void Kill()
    {
        if (_process is null)
            return;
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
        _process = null;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
