using System.Diagnostics;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Inference.Batching;

/// <summary>Runs works as one execution; see <see cref="OnnxSession.Run"/>.</summary>
internal delegate Tensor[][] ExecuteBatch(IReadOnlyList<InferenceWork> works, out ExecutionTimes times);

/// <summary>
/// One model version's queue. One execution runs at a time; what waits meanwhile is merged, oldest first, as far as it
/// fits. A request that finds the queue empty and nothing running is executed on its own thread, without a hand-over. Work with a cache has
/// no company to wait for, and a text that has begun is not refused: how many there are, their memory bounds.
/// </summary>
internal sealed class Batcher(BatchLimits limits, ExecuteBatch execute, ModelStatistics statistics, TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly LinkedList<Pending> _queue = new();
    private readonly ServiceRate _rate = new(time, limits.MaxQueue);
    private readonly SemaphoreSlim _full = new(0);
    private long _queuedRows;
    private int _queuedAlone;
    private bool _running;

    /// <summary>Requests that wait for an execution.</summary>
    public int QueueLength
    {
        get
        {
            lock (_gate)
            {
                return _queue.Count;
            }
        }
    }

    /// <exception cref="InferenceException">The queue is full (429) or the model cannot compute the work.</exception>
    public async Task<Tensor[]> SubmitAsync(InferenceWork work, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var pending = new Pending(work);
        if (Enter(pending))
        {
            Execute([pending]);
            Leave();
            return await pending.Outcome.Task;
        }

        // Leaves the queue when its sender does; an execution that has begun is not interrupted.
        await using var registration = cancellationToken.UnsafeRegister(_ => Withdraw(pending, cancellationToken), null);
        return await pending.Outcome.Task;
    }

    /// <summary>Tells the rate what a warm-up run showed, so that the first refusals are estimates already.</summary>
    public void Observe(long rows, ExecutionTimes times)
    {
        lock (_gate)
        {
            _rate.Record(rows, Stopwatch.GetElapsedTime(times.Start, times.End).TotalSeconds);
        }
    }

    /// <summary>True when the caller shall execute its work itself; otherwise the work is queued.</summary>
    private bool Enter(Pending pending)
    {
        lock (_gate)
        {
            var cache = pending.Work.Cache;
            if (!_running && (limits.MaxDelay <= TimeSpan.Zero || cache is not null))
            {
                _running = true;
                return true;
            }

            if (_queue.Count >= limits.MaxQueue && cache is not { Values.Count: > 0 })
            {
                var seconds = _rate.PromiseRetryAfter(_queuedRows, pending.Work.Rows);
                throw new InferenceException(
                    StatusCodes.Status429TooManyRequests,
                    $"The model's queue is full ({limits.MaxQueue} requests wait); send the request again in {seconds} s.",
                    seconds);
            }

            pending.Node = _queue.AddLast(pending);
            Count(pending.Work, 1);
            if (!_running)
            {
                _running = true;
                StartDrain();
            }
            else if (IsDue && _full.CurrentCount == 0)
            {
                _full.Release();
            }

            return false;
        }
    }

    /// <summary>Whether what waits gains nothing by waiting.</summary>
    private bool IsDue => _queuedRows >= limits.MaxBatch || _queuedAlone > 0;

    private void Count(InferenceWork work, int sign)
    {
        InferenceTelemetry.Waiting.Add(sign);
        _queuedRows += sign * work.Rows;
        _queuedAlone += work.Cache is null ? 0 : sign;
    }

    private void Leave()
    {
        lock (_gate)
        {
            if (_queue.Count == 0)
            {
                _running = false;
                return;
            }
        }

        StartDrain();
    }

    private void Withdraw(Pending pending, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (pending.Node is null)
            {
                return;
            }

            _queue.Remove(pending.Node);
            pending.Node = null;
            Count(pending.Work, -1);
        }

        pending.Outcome.TrySetCanceled(cancellationToken);
    }

    private void StartDrain() => ThreadPool.UnsafeQueueUserWorkItem(_ => _ = DrainAsync(), null);

    private async Task DrainAsync()
    {
        while (true)
        {
            List<Pending>? batch = null;
            TimeSpan wait;
            lock (_gate)
            {
                if (_queue.First is not { } head)
                {
                    _running = false;
                    return;
                }

                wait = limits.MaxDelay - Stopwatch.GetElapsedTime(head.Value.Enqueued);
                if (wait <= TimeSpan.Zero || IsDue)
                {
                    batch = Take(head);
                }
            }

            if (batch is null)
            {
                // The semaphore counts in milliseconds.
                await _full.WaitAsync(TimeSpan.FromMilliseconds(Math.Ceiling(wait.TotalMilliseconds)));
                continue;
            }

            Execute(batch);
        }
    }

    /// <summary>The oldest work, and those behind it that join with it until one does not fit any more.</summary>
    private List<Pending> Take(LinkedListNode<Pending> head)
    {
        var batch = new List<Pending>();
        var rows = 0L;
        for (var node = head; node is not null;)
        {
            var next = node.Next;
            var work = node.Value.Work;
            if (batch.Count == 0 || work.JoinsWith(head.Value.Work))
            {
                if (batch.Count > 0 && rows + work.Rows > limits.MaxBatch)
                {
                    break;
                }

                _queue.Remove(node);
                node.Value.Node = null;
                Count(work, -1);
                rows += work.Rows;
                batch.Add(node.Value);
            }

            node = next;
        }

        return batch;
    }

    private void Execute(List<Pending> batch)
    {
        try
        {
            var results = execute([.. batch.Select(p => p.Work)], out var times);
            statistics.RecordExecution([.. batch.Select(p => (p.Work, p.Enqueued))], times);
            Observe(batch.Sum(p => p.Work.Rows), times);
            for (var i = 0; i < batch.Count; i++)
            {
                batch[i].Outcome.TrySetResult(results[i]);
            }
        }
        catch (Exception fault) when (batch.Count > 1 && fault is OnnxRuntimeException or NotSplittableException)
        {
            // One work's values must not fail its neighbours: each gets an execution, and a verdict, of its own.
            foreach (var pending in batch)
            {
                Execute([pending]);
            }
        }
        catch (Exception fault)
        {
            batch.ForEach(p => p.Outcome.TrySetException(fault));
        }
    }

    private sealed class Pending(InferenceWork work)
    {
        public InferenceWork Work { get; } = work;

        public long Enqueued { get; } = Stopwatch.GetTimestamp();

        /// <summary>Its place in the queue while it waits.</summary>
        public LinkedListNode<Pending>? Node { get; set; }

        public TaskCompletionSource<Tensor[]> Outcome { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
