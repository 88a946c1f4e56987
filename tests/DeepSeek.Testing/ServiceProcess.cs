using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace DeepSeek.Testing;

/// <summary>A service as a process of its own, on one port for all its lives, so that it can be killed, stopped and weighed.</summary>
/// <param name="assembly">The service's assembly, which lies beside the test's: <c>DeepSeek.Registry</c>.</param>
public sealed class ServiceProcess(string assembly) : IAsyncDisposable
{
    private static readonly TimeSpan s_startDeadline = TimeSpan.FromMinutes(2);
    private readonly Dictionary<string, string?> _settings = new() { ["Identity:SigningKey"] = TestIdentity.SigningKey };
    private readonly StringBuilder _output = new();
    private Process? _process;

    public Uri Address { get; } = new($"http://127.0.0.1:{TestPort.Reserve()}");

    public int Id => Running.Id;

    /// <summary>Highest resident size since the process started, in bytes, as the kernel counted it.</summary>
    public long PeakBytes => 1024 * long.Parse(
        File.ReadLines($"/proc/{Id}/status").Single(line => line.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    public TimeSpan ProcessorTime => Running.TotalProcessorTime;

    /// <summary>What all lives have written.</summary>
    public string Output
    {
        get { lock (_output) { return _output.ToString(); } }
    }

    private Process Running => _process ?? throw new InvalidOperationException($"{assembly} does not run.");

    /// <summary>Sets a configuration value (<c>Section:Name</c>); for the next start.</summary>
    public ServiceProcess With(string key, string? value)
    {
        _settings[key] = value;
        return this;
    }

    public HttpClient ClientOf(string role, string name = "tester") => new HttpClient { BaseAddress = Address }.As(role, name);

    /// <summary>Starts the process and waits until it is healthy, its queues bound included.</summary>
    public async Task StartAsync()
    {
        _process?.Dispose();
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, assembly + ".dll")])
        {
            WorkingDirectory = AppContext.BaseDirectory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["ASPNETCORE_URLS"] = Address.AbsoluteUri },
        };
        foreach (var (key, value) in _settings)
        {
            start.Environment[key.Replace(":", "__", StringComparison.Ordinal)] = value;
        }

        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        using var client = new HttpClient { BaseAddress = Address };
        try
        {
            await Eventually.True(async () => _process.HasExited || await IsHealthyAsync(client), s_startDeadline);
        }
        catch (AssertionFailedException)
        {
            throw new AssertionFailedException($"{assembly} is not healthy within {s_startDeadline.TotalSeconds} s:\n{Output}");
        }

        if (_process.HasExited)
        {
            throw new AssertionFailedException($"{assembly} ended at its start with exit code {_process.ExitCode}:\n{Output}");
        }
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

    /// <summary>As <c>kill -TERM</c>; waits for the end.</summary>
    public async Task StopAsync()
    {
        Signal("TERM");
        using var limit = new CancellationTokenSource(Eventually.Deadline);
        await Running.WaitForExitAsync(limit.Token);
    }

    /// <summary>As <c>kill -NAME</c>: <c>STOP</c> stalls the process until <c>CONT</c>.</summary>
    public void Signal(string name)
    {
        using var kill = Process.Start("kill", [$"-{name}", $"{Id}"]);
        kill.WaitForExit();
    }

    public async ValueTask DisposeAsync() => await KillAsync();

    private static async Task<bool> IsHealthyAsync(HttpClient client)
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
    }

    private void Keep(string? line)
    {
        lock (_output)
        {
            _output.AppendLine(line);
        }
    }
}
