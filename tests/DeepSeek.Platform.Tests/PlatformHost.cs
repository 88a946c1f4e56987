using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using DeepSeek.Client;
using DeepSeek.Testing;

namespace DeepSeek.Platform.Tests;

/// <summary>The whole platform as <c>dotnet run --project DeepSeek.AppHost</c> starts it, on free ports and an empty data folder.</summary>
public sealed partial class PlatformHost : IAsyncLifetime
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromMinutes(5);
    private readonly TestFolder _data = new();
    private readonly Queue<string> _lastLines = new();
    private readonly TaskCompletionSource<Uri> _gateway = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<Uri> _status = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly HttpClient _http = new();
    private Process _process = null!;

    public Uri Gateway { get; private set; } = null!;
    public string AdminKey { get; private set; } = "";
    public string DataFolder => _data.Path;

    /// <summary>A client with the first admin key.</summary>
    public DeepSeekClient Admin { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(DataFolder);
        if (!OperatingSystem.IsWindows())
        {
            // As root, PostgreSQL runs as another user, who must reach its folder.
            File.SetUnixFileMode(DataFolder, File.GetUnixFileMode(DataFolder) | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        }

        var start = new ProcessStartInfo("dotnet", [Repository.AppHost]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["DEEPSEEK_DATA"] = DataFolder;
        start.Environment["DcpPublisher__RandomizePorts"] = "true";
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Read(line.Data);
        _process.ErrorDataReceived += (_, line) => Read(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        using var limit = new CancellationTokenSource(s_startLimit);
        try
        {
            Gateway = await _gateway.Task.WaitAsync(limit.Token);
            Status = await _status.Task.WaitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"The platform was not healthy within {s_startLimit}. Its last lines:\n{LastLines()}");
        }

        AdminKey = (await File.ReadAllTextAsync(Path.Combine(DataFolder, "gateway", "admin.key"))).Trim();
        Admin = new DeepSeekClient(Gateway, AdminKey);
    }

    private Uri Status { get; set; } = null!;

    public async ValueTask DisposeAsync()
    {
        Admin?.Dispose();
        _http.Dispose();
        if (!_process.HasExited)
        {
            using var term = Process.Start("kill", ["-TERM", $"{_process.Id}"]);
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
            await _process.WaitForExitAsync(limit.Token).ContinueWith(_ => { }, TaskScheduler.Default);
            if (!_process.HasExited)
            {
                _process.Kill(entireProcessTree: true);
            }
        }

        _data.Dispose();
    }

    /// <summary>A client with a new key of this role.</summary>
    public async Task<DeepSeekClient> ClientAsync(string role) =>
        new(Gateway, (await Admin.Keys.CreateAsync($"{role}-{Guid.NewGuid():N}", role)).Key);

    /// <summary>Process ids of a resource's replicas, as the status page tells them.</summary>
    public async Task<int[]> ProcessesAsync(string resource) =>
        [.. (await ResourcesAsync()).Where(r => r.GetProperty("name").GetString() == resource).Select(r => r.GetProperty("pid")).Where(pid => pid.ValueKind == JsonValueKind.Number).Select(pid => pid.GetInt32())];

    /// <summary>Waits until every process runs and is healthy (again), and none of <paramref name="gone"/> is among them.</summary>
    public Task HealthyAsync(params int[] gone) => Eventually.True(
        async () => (await ResourcesAsync()).Where(r => r.GetProperty("commands").GetArrayLength() > 0).All(r =>
            r.GetProperty("pid") is { ValueKind: JsonValueKind.Number } pid && !gone.Contains(pid.GetInt32())
            && (r.GetProperty("state").GetString(), r.GetProperty("health").GetString()) == ("Running", "Healthy")),
        TimeSpan.FromMinutes(2));

    /// <summary>Runs the command line client against this platform.</summary>
    public async Task<(int ExitCode, string Output, string Error)> CliAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Repository.Cli, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = DataFolder };
        start.Environment["DEEPSEEK_GATEWAY"] = Gateway.AbsoluteUri;
        start.Environment["DEEPSEEK_API_KEY"] = AdminKey;
        start.Environment["XDG_CONFIG_HOME"] = Path.Combine(DataFolder, "config");
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await error);
    }

    public string LastLines()
    {
        lock (_lastLines)
        {
            return string.Join('\n', _lastLines);
        }
    }

    private async Task<JsonElement[]> ResourcesAsync() =>
        [.. (await _http.GetFromJsonAsync<JsonElement>(new Uri(Status, "api/resources"))).GetProperty("resources").EnumerateArray()];

    private void Read(string? line)
    {
        if (line is null)
        {
            return;
        }

        lock (_lastLines)
        {
            _lastLines.Enqueue(line);
            if (_lastLines.Count > 400)
            {
                _lastLines.Dequeue();
            }
        }

        if (GatewayLine().Match(line) is { Success: true } gateway)
        {
            _gateway.TrySetResult(new Uri(gateway.Groups[1].Value));
        }
        else if (StatusLine().Match(line) is { Success: true } status)
        {
            _status.TrySetResult(new Uri(status.Groups[1].Value));
        }
    }

    [GeneratedRegex(@"\| gateway: (http://\S+)")]
    private static partial Regex GatewayLine();

    [GeneratedRegex(@"status page: (http://\S+)")]
    private static partial Regex StatusLine();
}

/// <summary>One platform serves all suites, one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class PlatformCollection : ICollectionFixture<PlatformHost>
{
    public const string Name = "platform";
}
