using System.Collections.Concurrent;
using System.Threading.Channels;

namespace DeepSeek.Scheduling.Signals;

/// <summary>Wakes those who wait for a job to change: event streams for theirs, the scheduler for any.</summary>
public sealed class JobSignals
{
    public const string Channel = "scheduling_jobs";

    private readonly ConcurrentDictionary<Subscription, Guid?> _subscriptions = new();

    /// <param name="jobId">Null for every job.</param>
    public Subscription Subscribe(Guid? jobId)
    {
        var subscription = new Subscription(this);
        _subscriptions[subscription] = jobId;
        return subscription;
    }

    /// <param name="jobId">Null when changes may have been missed: everybody looks.</param>
    public void Wake(Guid? jobId)
    {
        foreach (var (subscription, wanted) in _subscriptions)
        {
            if (jobId is null || wanted is null || wanted == jobId)
            {
                subscription.Signal();
            }
        }
    }

    /// <summary>Remembers one signal, so that none is missed between reading and waiting.</summary>
    public sealed class Subscription(JobSignals owner) : IDisposable
    {
        private readonly Channel<bool> _pending = System.Threading.Channels.Channel.CreateBounded<bool>(
            new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

        internal void Signal() => _pending.Writer.TryWrite(true);

        /// <summary>Returns at a signal or after <paramref name="atMost"/>.</summary>
        public async Task WaitAsync(TimeSpan atMost, TimeProvider clock, CancellationToken cancellationToken)
        {
            using var timer = new CancellationTokenSource(atMost, clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
            try
            {
                await _pending.Reader.ReadAsync(either.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The time is over.
            }
        }

        public void Dispose() => owner._subscriptions.TryRemove(this, out _);
    }
}
