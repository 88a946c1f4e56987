using System.Collections.Concurrent;
using DeepSeek.Contracts.Jobs;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>The slots of one kind in this process.</summary>
internal sealed partial class JobRunner(
    IServiceScopeFactory scopes, Func<IServiceProvider, IJobHandler> handler, string kind, JobWorkerOptions options, TimeProvider clock,
    ILogger<JobRunner> logger)
{
    /// <summary>Leases remembered after their end, in case the broker delivers an offer again.</summary>
    private const int Remembered = 1_000;
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan AcquirePause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestAcquirePause = TimeSpan.FromSeconds(5);

    /// <summary>How long an offer is kept to which Scheduling answers with faults. One that cannot be reached is waited for: only it could offer anything else.</summary>
    private static readonly TimeSpan FaultsAtMost = TimeSpan.FromSeconds(20);

    /// <summary>Scheduling may hear of a job's end before this process has let go of its slot.</summary>
    private static readonly TimeSpan SlotPatience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan UnwindTime = TimeSpan.FromMilliseconds(700);

    private readonly SemaphoreSlim _slots = new(options.Slots);
    private readonly ConcurrentDictionary<Guid, Lease> _leases = new();
    private readonly ConcurrentQueue<Guid> _ended = new();
    private readonly CancellationTokenSource _stop = new(); // not disposed: jobs may outlive the host's patience
    private volatile bool _stopping;

    public string Kind => kind;

    /// <summary>New with every process: a restarted worker is another one, and its old leases are not its own.</summary>
    public string WorkerId { get; } = $"{kind}@{Environment.MachineName}/{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";

    public int Busy => options.Slots - _slots.CurrentCount;

    /// <summary>Takes an offer without waiting for it; a second delivery of the same offer does nothing.</summary>
    public void Offer(RunJob offer)
    {
        var lease = new Lease(offer);
        if (_leases.TryAdd(offer.LeaseId, lease))
        {
            lease.Work = Task.Run(() => TakeAsync(lease));
        }
    }

    /// <summary>Asks every job to yield, and after <paramref name="grace"/> gives back the leases of those that have not.</summary>
    public async Task StopAsync(TimeSpan grace)
    {
        _stopping = true;
        await _stop.CancelAsync();
        var running = _leases.Values.Where(lease => !lease.Work.IsCompleted).ToList();
        running.ForEach(lease => lease.Job?.RequestYield());
        var all = Task.WhenAll(running.Select(lease => lease.Work));
        await all.WaitAsync(grace, clock).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!all.IsCompleted)
        {
            running.ForEach(lease => lease.Job?.Stop());
            await all.WaitAsync(UnwindTime, clock).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            // Whoever still runs is about to be killed; its fence keeps what it might yet store out.
            await Task.WhenAll(running.Where(lease => !lease.Work.IsCompleted && lease.Job is not null)
                .Select(lease => TryEndAsync(lease.Offer, new EndLease { Outcome = LeaseOutcome.Yielded })));
        }
    }

    private async Task TakeAsync(Lease lease)
    {
        var offer = lease.Offer;
        try
        {
            if (_stopping || !await _slots.WaitAsync(SlotPatience))
            {
                await TryEndAsync(offer, new EndLease { Outcome = LeaseOutcome.Declined });
                return;
            }
            EndLease? end = null;
            var held = true;
            try
            {
                await using var scope = scopes.CreateAsyncScope();
                var client = scope.ServiceProvider.GetRequiredService<LeaseClient>();
                if (await AcquireAsync(client, offer))
                {
                    var job = new LeasedJob
                    {
                        JobId = offer.JobId, SubjectId = offer.SubjectId, LeaseId = offer.LeaseId, Attempt = offer.Attempt,
                    };
                    lease.Job = job;
                    if (_stopping)
                    {
                        job.RequestYield();
                    }
                    // Scheduling knows of the end as soon as the handler has stored it: the next offer must not wait for the last heartbeat.
                    end = await new LeaseRun(scope.ServiceProvider, handler, client, offer, job, options, clock, logger).RunAsync(LetGo);
                }
            }
            finally
            {
                lease.Job = null;
                LetGo();
            }

            void LetGo()
            {
                if (held)
                {
                    held = false;
                    _slots.Release();
                }
            }

            if (end is not null)
            {
                await TellEndAsync(offer, end);
            }
        }
        catch (Exception exception)
        {
            // Nobody awaits this task; the lease runs out and Scheduling gives the job to somebody else.
            LogFault(logger, exception, kind, offer.JobId);
        }
        finally
        {
            _ended.Enqueue(offer.LeaseId);
            if (_ended.Count > Remembered && _ended.TryDequeue(out var oldest))
            {
                _leases.TryRemove(oldest, out _);
            }
        }
    }

    private async Task<bool> AcquireAsync(LeaseClient client, RunJob offer)
    {
        var deadline = clock.GetUtcNow() + FaultsAtMost;
        for (var pause = AcquirePause; ; pause = pause * 2 < LongestAcquirePause ? pause * 2 : LongestAcquirePause)
        {
            try
            {
                return await client.AcquireAsync(offer, WorkerId, CancellationToken.None);
            }
            catch (Exception exception) when (LeaseClient.IsTransient(exception))
            {
                if (_stopping || (LeaseClient.IsAnswered(exception) && clock.GetUtcNow() >= deadline))
                {
                    LogMissed(logger, kind, offer.JobId, exception.Message);
                    return false;
                }
                if (pause == AcquirePause)
                {
                    LogAway(logger, kind, offer.JobId, exception.Message);
                }
                await Task.Delay(pause, clock, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>What the handler committed is in its outbox anyway; this only saves the time until the message arrives.</summary>
    private async Task TellEndAsync(RunJob offer, EndLease end)
    {
        for (var deadline = clock.GetUtcNow() + TimeSpan.FromSeconds(offer.LeaseSeconds);
            !await TryEndAsync(offer, end) && clock.GetUtcNow() < deadline && !_stopping;)
        {
            await Task.Delay(AcquirePause, clock);
        }
    }

    private async Task<bool> TryEndAsync(RunJob offer, EndLease end)
    {
        try
        {
            await using var scope = scopes.CreateAsyncScope();
            using var timeout = new CancellationTokenSource(_stopping ? TimeSpan.FromSeconds(options.GiveBackSeconds) : EndTimeout, clock);
            await scope.ServiceProvider.GetRequiredService<LeaseClient>().EndAsync(offer, end, timeout.Token);
            return true;
        }
        catch (Exception exception) when (LeaseClient.IsTransient(exception) || exception is OperationCanceledException)
        {
            LogMissed(logger, kind, offer.JobId, exception.Message);
            return false;
        }
    }

    [LoggerMessage(LogLevel.Warning, "Scheduling could not be told of job {JobId} ({Kind}); its deadline will: {Reason}")]
    private static partial void LogMissed(ILogger logger, string kind, Guid jobId, string reason);

    [LoggerMessage(LogLevel.Warning, "Scheduling cannot be reached for job {JobId} ({Kind}); its offer is kept until it can: {Reason}")]
    private static partial void LogAway(ILogger logger, string kind, Guid jobId, string reason);

    [LoggerMessage(LogLevel.Error, "The worker's own code failed on job {JobId} ({Kind}).")]
    private static partial void LogFault(ILogger logger, Exception exception, string kind, Guid jobId);

    private sealed class Lease(RunJob offer)
    {
        public RunJob Offer { get; } = offer;

        public Task Work { get; set; } = Task.CompletedTask;

        public LeasedJob? Job { get; set; }
    }
}
