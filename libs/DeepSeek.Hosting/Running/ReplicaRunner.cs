using System.Diagnostics;
using System.Globalization;
using Aspire.Hosting.Eventing;

namespace Aspire.Hosting;

/// <summary>Keeps one process of a resource in the state it should be in.</summary>
internal sealed class ReplicaRunner(
    Replica replica, ProcessSpecs specs, ProcessLauncher launcher, EndpointAllocator endpoints, ResourceStates states,
    ResourceNotificationService notifications, IDistributedApplicationEventing eventing, IServiceProvider services, LocalHostSettings settings, ILogger log)
{
    private readonly CancellationTokenSource _end = new();
    private readonly RestartDelay _delay = new();
    private readonly bool _awaited = states.IsCompletionAwaited(replica.Resource);
    private TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private CancellationTokenSource _run = new();
    private Task _loop = Task.CompletedTask;

    public Replica Replica => replica;

    /// <summary>Begins; returns at once.</summary>
    public void Begin()
    {
        if (!replica.Resource.HasAnnotationOfType<ExplicitStartupAnnotation>())
        {
            Start();
        }

        _loop = LoopAsync();
    }

    /// <summary>Starts the process; if it waits for others, without waiting any longer.</summary>
    public void Start() => _started.TrySetResult();

    /// <summary>Stops the process until it is started again.</summary>
    public void Stop() => _run.Cancel();

    /// <summary>Stops the process for good.</summary>
    public Task EndAsync()
    {
        _end.Cancel();
        return _loop;
    }

    private async Task LoopAsync()
    {
        while (true)
        {
            try
            {
                await _started.Task.WaitAsync(_end.Token).ConfigureAwait(false);
                _started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                _run = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
                while (await RunOnceAsync(_run.Token).ConfigureAwait(false) is { } pause)
                {
                    await Task.WhenAny(_started.Task, Task.Delay(pause, _run.Token)).ConfigureAwait(false);
                    _run.Token.ThrowIfCancellationRequested();
                }
            }
            catch (OperationCanceledException)
            {
                if (_end.IsCancellationRequested)
                {
                    return;
                }
            }
        }
    }

    /// <summary>One life of the process. Gives the pause before the next; null: there is none by itself.</summary>
    private async Task<TimeSpan?> RunOnceAsync(CancellationToken run)
    {
        LaunchedProcess process;
        try
        {
            await WaitForDependenciesAsync(run).ConfigureAwait(false);
            states.Set(replica, KnownResourceStates.Starting);
            var spec = await specs.BuildAsync(replica, run).ConfigureAwait(false);
            run.ThrowIfCancellationRequested();
            process = launcher.Start(replica.Id, spec, (line, error) => states.Log(replica, line, error));
        }
        catch (OperationCanceledException) when (run.IsCancellationRequested)
        {
            states.Set(replica, KnownResourceStates.Exited);
            throw;
        }
        catch (Exception fault)
        {
            // Whatever kept it from starting is told once, and the others go on.
            log.LogError("Failed to start: {Reason}", fault is DistributedApplicationException ? fault.Message : fault.ToString());
            states.Set(replica, KnownResourceStates.FailedToStart);
            return null;
        }

        var begun = Stopwatch.GetTimestamp();
        states.SetRunning(replica, process.Id);
        Connect();
        await ((Task)process.Exited).WaitAsync(run).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        var asked = run.IsCancellationRequested && !process.Exited.IsCompleted;
        if (asked)
        {
            states.Set(replica, KnownResourceStates.Stopping);
            await process.StopAsync(settings.StopTimeout).ConfigureAwait(false);
        }

        Disconnect();
        process.KillAll();
        var code = await process.Exited.ConfigureAwait(false);
        await process.OutputEnded.ConfigureAwait(false);
        states.SetEnded(replica, code);
        run.ThrowIfCancellationRequested();
        if (code == 0 || !settings.RestartCrashed || _awaited)
        {
            return null;
        }

        var pause = _delay.Next(Stopwatch.GetElapsedTime(begun));
        log.LogWarning("Exited with code {Code}; starting again in {Pause} s.", code, pause.TotalSeconds.ToString("0.#", CultureInfo.InvariantCulture));
        return pause;
    }

    private async Task WaitForDependenciesAsync(CancellationToken run)
    {
        using var waiting = CancellationTokenSource.CreateLinkedTokenSource(run);
        if (replica.Resource.HasAnnotationOfType<WaitAnnotation>())
        {
            states.Set(replica, KnownResourceStates.Waiting);
            var dependencies = Dependencies.WaitAsync(notifications, replica.Resource, message => log.LogDebug("{Message}", message), waiting.Token);
            var first = await Task.WhenAny(dependencies, _started.Task).ConfigureAwait(false);
            if (first == dependencies)
            {
                await dependencies.ConfigureAwait(false);
            }
            else
            {
                await waiting.CancelAsync().ConfigureAwait(false);
                _started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }

        await eventing.PublishAsync(new BeforeResourceStartedEvent(replica.Resource, services), run).ConfigureAwait(false);
    }

    private void Connect()
    {
        foreach (var endpoint in replica.Resource.Annotations.OfType<EndpointAnnotation>())
        {
            if (endpoints.ProxyOf(endpoint) is { } proxy)
            {
                proxy.AddBackend(replica.Id, replica.Ports[EndpointAllocator.ServiceName(replica.Resource, endpoint)]);
            }
        }
    }

    private void Disconnect()
    {
        foreach (var endpoint in replica.Resource.Annotations.OfType<EndpointAnnotation>())
        {
            endpoints.ProxyOf(endpoint)?.RemoveBackend(replica.Id);
        }
    }
}
