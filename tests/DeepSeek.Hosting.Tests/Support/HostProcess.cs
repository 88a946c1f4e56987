using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.RegularExpressions;

namespace DeepSeek.Hosting.Tests;

/// <summary>The sample AppHost as a process of its own.</summary>
internal sealed partial class HostProcess : IDisposable
{
    private readonly Process _process;
    private readonly ConcurrentQueue<string> _lines = new();

    public HostProcess(DataFolder data, params string[] args)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Repository.Assembly("tests/DeepSeek.Hosting.Tests/Samples/Sample.AppHost"));
        foreach (var arg in args)
        {
            start.ArgumentList.Add(arg);
        }

        start.Environment["DEEPSEEK_DATA"] = data.Path;
        start.Environment["DcpPublisher__RandomizePorts"] = "true";
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public int Id => _process.Id;

    public string Log => string.Join('\n', _lines);

    public Task HealthyAsync() => Eventually.True(() => _process.HasExited || StatusLine().IsMatch(Log), "all resources healthy");

    public Uri StatusUrl => new(StatusLine().Match(Log).Groups[1].Value);

    public async Task<int> ExitAsync()
    {
        await _process.WaitForExitAsync(Eventually.Token);
        return _process.ExitCode;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }

        _process.Dispose();
    }

    private void Keep(string? line)
    {
        if (line is not null)
        {
            _lines.Enqueue(line);
        }
    }

    [GeneratedRegex(@"status page: (http://\S+)")]
    private static partial Regex StatusLine();
}
