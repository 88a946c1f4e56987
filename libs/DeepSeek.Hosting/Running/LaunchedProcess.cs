using System.Diagnostics;

namespace Aspire.Hosting;

/// <summary>A process the host started, with all it started itself.</summary>
internal sealed class LaunchedProcess
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(50);
    private readonly Process _process;
    private readonly string _mark;
    private readonly ProcessSpec _spec;
    private readonly Watchdog _watchdog;
    private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public LaunchedProcess(Process process, string mark, ProcessSpec spec, Watchdog watchdog)
    {
        _process = process;
        _mark = mark;
        _spec = spec;
        _watchdog = watchdog;
        // Not WaitForExitAsync: that also waits for grandchildren that hold the output pipes.
        process.Exited += (_, _) => _exited.TrySetResult(process.ExitCode);
    }

    public int Id => _process.Id;

    /// <summary>Exit code; 128 + signal if a signal ended it.</summary>
    public Task<int> Exited => _exited.Task;

    /// <summary>Completes when all output was read, at the latest a second after the end.</summary>
    public async Task OutputEndedAsync()
    {
        await Exited.ConfigureAwait(false);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        try
        {
            await _process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // A grandchild holds the pipe.
        }
    }

    public Task OutputEnded => OutputEndedAsync();

    /// <summary>Asks the process and its children to stop; kills what is left after <paramref name="grace"/>.</summary>
    public async Task StopAsync(TimeSpan grace)
    {
        Signals.Send(Id, _spec.StopSignal);
        foreach (var descendant in _spec.StopsChildren ? ProcessMarker.Find(_mark) : [])
        {
            if (descendant != Id)
            {
                Signals.Send(descendant, _spec.StopSignal);
            }
        }

        var end = Stopwatch.GetTimestamp() + (long)(grace.TotalSeconds * Stopwatch.Frequency);
        while (Stopwatch.GetTimestamp() < end && !(Exited.IsCompleted && ProcessMarker.Find(_mark).Count == 0))
        {
            await Task.WhenAny(Exited.IsCompleted ? Task.Delay(PollInterval) : Exited, Task.Delay(PollInterval)).ConfigureAwait(false);
        }

        KillAll();
        await Exited.ConfigureAwait(false);
    }

    /// <summary>Kills what is left of the process and its children.</summary>
    public void KillAll()
    {
        // The id can belong to another process once this one was reaped, the group lives on with its children.
        if (!Exited.IsCompleted)
        {
            Signals.SendToGroup(Id, Signals.Kill);
        }

        ProcessMarker.Kill(_mark);
        _watchdog.Remove(Id);
    }
}
