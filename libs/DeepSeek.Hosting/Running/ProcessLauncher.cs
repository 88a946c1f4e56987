using System.Diagnostics;

namespace Aspire.Hosting;

/// <summary>Starts processes, each in a session of its own, so that they end by the host's word and not by the terminal's.</summary>
internal sealed class ProcessLauncher(Watchdog watchdog, LocalData data)
{
    // What the AppHost was told about itself is not for its children.
    private static readonly string[] OwnVariables = ["ASPNETCORE_URLS", "DOTNET_LAUNCH_PROFILE", "ASPNETCORE_ENVIRONMENT", "DOTNET_ENVIRONMENT", "ASPIRE_LOGLEVEL"];

    /// <summary>Starts a process. <paramref name="onLine"/> gets its output line by line; true marks standard error.</summary>
    public LaunchedProcess Start(string name, ProcessSpec spec, Action<string, bool> onLine)
    {
        var mark = $"{watchdog.HostId}/{name}";
        var process = new Process { StartInfo = StartInfo(spec, mark), EnableRaisingEvents = true };
        var launched = new LaunchedProcess(process, mark, spec, watchdog);
        process.OutputDataReceived += (_, line) => Forward(line.Data, error: false);
        process.ErrorDataReceived += (_, line) => Forward(line.Data, error: true);
        process.Start();
        watchdog.Add(process.Id);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        if (spec.Input is not null)
        {
            process.StandardInput.Write(spec.Input);
        }

        process.StandardInput.Close();
        return launched;

        void Forward(string? line, bool error)
        {
            if (line is not null)
            {
                onLine(line, error);
            }
        }
    }

    /// <summary>Runs a tool to its end. Throws with the end of its output if it fails.</summary>
    public async Task RunAsync(string name, ProcessSpec spec, CancellationToken cancellationToken)
    {
        var output = new Queue<string>();
        var tool = Start($"{name}.tool", spec, (line, _) =>
        {
            lock (output)
            {
                output.Enqueue(line);
                if (output.Count > 20)
                {
                    output.Dequeue();
                }
            }
        });
        try
        {
            var code = await tool.Exited.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (code != 0)
            {
                await tool.OutputEnded.ConfigureAwait(false);
                lock (output)
                {
                    throw new DistributedApplicationException($"{Path.GetFileName(spec.FileName)} ended with exit code {code}:\n{string.Join('\n', output)}");
                }
            }
        }
        finally
        {
            tool.KillAll();
        }
    }

    private ProcessStartInfo StartInfo(ProcessSpec spec, string mark)
    {
        var start = new ProcessStartInfo("setsid")
        {
            WorkingDirectory = spec.WorkingDirectory,
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        string[] become = spec.User is { } user ? ["setpriv", $"--reuid={user}", $"--regid={user}", "--init-groups", "--"] : [];
        foreach (var word in (string[])[.. become, spec.FileName, .. spec.Arguments])
        {
            start.ArgumentList.Add(word);
        }

        foreach (var own in OwnVariables)
        {
            start.Environment.Remove(own);
        }

        start.Environment[LocalData.Variable] = data.Root;
        foreach (var (name, value) in spec.Environment)
        {
            start.Environment[name] = value;
        }

        start.Environment[ProcessMarker.Variable] = mark;
        return start;
    }
}
