using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Tests.Platform;

namespace DeepSeek.Training.Tests;

/// <summary>The service as a process that is killed or told to stop while its trainer runs.</summary>
public sealed class ServiceKilledTests(ServiceKilledTests.Fixture platform) : IClassFixture<ServiceKilledTests.Fixture>, IAsyncLifetime
{
    private readonly Uri _address = new($"http://127.0.0.1:{FreePort()}");
    private Process? _process;

    public sealed class Fixture : TrainingPlatform
    {
        protected override bool InProcess => false;
    }

    [Fact]
    public async Task Service_KilledWhileTraining_TrainerDiesWithItAndTheRunResumes()
    {
        await StartAsync();
        using var runs = Client();
        var accepted = await platform.StartAsync(platform.LongSpec(), runs);
        await platform.CheckpointAsync(accepted.Id);

        _process!.Kill();

        await Eventually.True(() => TrainerProcesses.Of(accepted.Id).Count == 0, TimeSpan.FromSeconds(10));
        await StartAsync();
        var run = await platform.RunAsync(accepted.Id, RunState.Succeeded, runs);
        Assert.Equal(await platform.UndisturbedAsync(runs), TrainingPlatform.ShaOf(run, "weights.safetensors"));
        Assert.Equal(2, (await platform.JobAsync(accepted.JobId, JobState.Succeeded)).Attempt);
    }

    [Fact]
    public async Task Service_ToldToStop_RunYieldsAndResumesAtNoCost()
    {
        await StartAsync();
        using var runs = Client();
        var accepted = await platform.StartAsync(platform.LongSpec(), runs);
        await platform.CheckpointAsync(accepted.Id);

        using (Process.Start("kill", ["-TERM", $"{_process!.Id}"]))
        {
            await _process.WaitForExitAsync(new CancellationTokenSource(Eventually.Deadline).Token);
        }

        Assert.Empty(TrainerProcesses.Of(accepted.Id));
        await StartAsync();
        var run = await platform.RunAsync(accepted.Id, RunState.Succeeded, runs);
        Assert.Equal(await platform.UndisturbedAsync(runs), TrainingPlatform.ShaOf(run, "weights.safetensors"));
        Assert.Equal(1, (await platform.JobAsync(accepted.JobId, JobState.Succeeded)).Attempt);
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false })
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }
        _process?.Dispose();
    }

    private HttpClient Client() => new HttpClient { BaseAddress = _address }.As(Roles.Operator, "ada");

    private async Task StartAsync()
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "DeepSeek.Training.dll")]);
        foreach (var (key, value) in platform.TrainingSettings)
        {
            start.Environment[key.Replace(":", "__")] = value;
        }
        start.Environment["ASPNETCORE_URLS"] = _address.AbsoluteUri;
        start.Environment["Identity__SigningKey"] = TestIdentity.SigningKey;
        start.Environment[DataDirectories.Variable] = platform.Training.DataFolder;
        _process?.Dispose();
        _process = Process.Start(start)!;
        using var client = Client();
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
        }, TimeSpan.FromSeconds(120), "training is healthy");
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
