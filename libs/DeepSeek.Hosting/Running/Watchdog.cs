using System.Diagnostics;

namespace Aspire.Hosting;

/// <summary>A small shell process in a session of its own that kills everything the host started once the host is gone.</summary>
internal sealed class Watchdog : IDisposable
{
    private readonly Lock _gate = new();
    private readonly HashSet<int> _groups = [];
    private Process? _process;
    private bool _ended;

    /// <summary>Names this host in the marks of its processes.</summary>
    public string HostId { get; } = Guid.NewGuid().ToString("N");

    public int? ProcessId => _process?.Id;

    public void Start()
    {
        lock (_gate)
        {
            Launch();
        }
    }

    public void Add(int pid) => Tell('+', pid, () => _groups.Add(pid));

    public void Remove(int pid) => Tell('-', pid, () => _groups.Remove(pid));

    public void Dispose()
    {
        Process? process;
        lock (_gate)
        {
            _ended = true;
            (process, _process) = (_process, null);
        }

        // Outside the gate: Process raises Exited under a lock of its own, which Dispose takes as well.
        process?.StandardInput.Close();
        process?.WaitForExit(TimeSpan.FromSeconds(6));
        process?.Dispose();
    }

    private void Tell(char change, int pid, Action note)
    {
        lock (_gate)
        {
            note();
            if (_process is null)
            {
                return;
            }

            try
            {
                _process.StandardInput.Write($"{change} {pid}\n");
                _process.StandardInput.Flush();
            }
            catch (IOException)
            {
                // It was killed: its successor learns all groups.
                Launch();
            }
        }
    }

    private void Launch()
    {
        var start = new ProcessStartInfo("setsid") { RedirectStandardInput = true, UseShellExecute = false, WorkingDirectory = "/" };
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(Script());
        start.ArgumentList.Add("deepseek-watchdog");
        start.ArgumentList.Add(HostId);
        start.Environment.Remove(ProcessMarker.Variable);
        var process = Process.Start(start) ?? throw new DistributedApplicationException("The watchdog process could not be started.");
        process.EnableRaisingEvents = true;
        process.Exited += (_, _) => Relaunch(process);
        foreach (var group in _groups)
        {
            process.StandardInput.Write($"+ {group}\n");
        }

        process.StandardInput.Flush();
        _process = process;
    }

    private void Relaunch(Process gone)
    {
        lock (_gate)
        {
            if (!_ended && _process == gone)
            {
                Launch();
            }
        }
    }

    private static string Script()
    {
        using var stream = typeof(Watchdog).Assembly.GetManifestResourceStream("watchdog.sh")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
