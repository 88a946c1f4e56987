using System.Diagnostics;
using System.Threading.Channels;

namespace DeepSeek.Training.Trainers;

/// <summary>One trainer process.</summary>
public sealed class TrainerRun : IAsyncDisposable
{
    private const int TailLines = 20;

    private readonly Process _process;
    private readonly Channel<string> _lines = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Queue<string> _tail = new();
    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private TrainerRun(ProcessStartInfo start) => _process = new Process { StartInfo = start };

    public static TrainerRun Start(ProcessStartInfo start)
    {
        var run = new TrainerRun(start);
        // The kernel's parent-death signal follows the thread that forked, so that thread lives as long as the child.
        new Thread(run.Live) { IsBackground = true, Name = "trainer" }.Start();
        run._started.Task.GetAwaiter().GetResult();
        return run;
    }

    public int Id => _process.Id;

    /// <summary>Lines of standard output, until the process has closed it.</summary>
    public IAsyncEnumerable<string> Lines => _lines.Reader.ReadAllAsync();

    public Task<int> Exit => _exited.Task;

    /// <summary>The last lines of standard error.</summary>
    public string ErrorTail
    {
        get { lock (_tail) { return string.Join('\n', _tail); } }
    }

    /// <summary>Asks for a checkpoint and exit 75; a process that is gone needs no asking.</summary>
    public void RequestYield()
    {
        try
        {
            _process.StandardInput.WriteLine("yield");
            _process.StandardInput.Flush();
        }
        catch (Exception fault) when (fault is IOException or ObjectDisposedException)
        {
            // It has ended by itself.
        }
    }

    public void Kill()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
        }
        catch (Exception fault) when (fault is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended by itself.
        }
    }

    public async ValueTask DisposeAsync()
    {
        Kill();
        await _exited.Task;
        _process.Dispose();
    }

    private void Live()
    {
        try
        {
            _process.Start();
        }
        catch (Exception fault)
        {
            _lines.Writer.Complete();
            _exited.SetException(fault);
            _started.SetException(fault);
            return;
        }
        _process.OutputDataReceived += (_, line) =>
        {
            if (line.Data is null)
            {
                _lines.Writer.TryComplete();
            }
            else
            {
                _lines.Writer.TryWrite(line.Data);
            }
        };
        _process.ErrorDataReceived += (_, line) => AddToTail(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        _started.SetResult();
        _process.WaitForExit();
        _lines.Writer.TryComplete();
        _exited.SetResult(_process.ExitCode);
    }

    private void AddToTail(string? line)
    {
        if (line is null)
        {
            return;
        }
        lock (_tail)
        {
            _tail.Enqueue(line);
            if (_tail.Count > TailLines)
            {
                _tail.Dequeue();
            }
        }
    }
}
