using DeepSeek.Contracts.Jobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>One lease in this process: what the handler reports, what Scheduling directs, how it ended.</summary>
internal sealed class LeasedJob : JobContext
{
    /// <summary>Lines kept while Scheduling is away; older ones go first.</summary>
    private const int MaxUnsentLines = 10_000;
    private const int LinesPerBeat = 1_000;
    private static readonly TimeSpan FlushAtMost = TimeSpan.FromSeconds(2);

    private readonly Lock _gate = new();

    // Not disposed: they hold no timer, and a stopping process may still signal a job that has just ended.
    private readonly CancellationTokenSource _cancelled = new();
    private readonly CancellationTokenSource _yield = new();
    private readonly Queue<string> _lines = new();
    private Dictionary<string, double>? _metrics;
    private double _progress;
    private string _message = "";
    private long _firstLine;
    private bool _news;
    private volatile bool _cancelRequested;
    private volatile bool _lost;

    public override CancellationToken YieldToken => _yield.Token;

    public override bool CancelRequested => _cancelRequested;

    public override bool Lost => _lost;

    public CancellationToken Cancelled => _cancelled.Token;

    /// <summary>How the handler says that the lease ended; null while it has not.</summary>
    public EndLease? End { get; private set; }

    public bool Dropped { get; private set; }

    /// <summary>Sends one heartbeat; set by whoever keeps the lease.</summary>
    public Func<Task> Beat { get; set; } = () => Task.CompletedTask;

    /// <summary>Something was reported since the last beat that arrived.</summary>
    public bool HasNews
    {
        get { lock (_gate) { return _news || _lines.Count > 0; } }
    }

    public override void Report(double progress, string message, params string[] log) => Report(progress, message, null, log);

    public override void Report(double progress, string message, IReadOnlyDictionary<string, double> metrics) =>
        Report(progress, message, metrics, []);

    public override async Task FlushAsync()
    {
        if (HasNews && !Lost)
        {
            await Beat().WaitAsync(FlushAtMost).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public override void Complete(DbContext db, string resultUri)
    {
        db.Publish(new JobCompleted { JobId = JobId, LeaseId = LeaseId, ResultUri = resultUri });
        End = new EndLease { Outcome = LeaseOutcome.Completed, ResultUri = resultUri };
    }

    public override void Fail(DbContext db, string error, bool retryable)
    {
        db.Publish(new JobFailed { JobId = JobId, LeaseId = LeaseId, Error = error, Retryable = retryable });
        End = new EndLease { Outcome = LeaseOutcome.Failed, Error = error, Retryable = retryable };
    }

    public override void Yield(DbContext db)
    {
        db.Publish(new JobYielded { JobId = JobId, LeaseId = LeaseId });
        End = new EndLease { Outcome = LeaseOutcome.Yielded };
    }

    public override void Cancel(DbContext db)
    {
        db.Publish(new JobCancelled { JobId = JobId, LeaseId = LeaseId });
        End = new EndLease { Outcome = LeaseOutcome.Cancelled };
    }

    public override void Drop() => Dropped = true;

    public void RequestYield() => _yield.Cancel();

    public void Stop() => _cancelled.Cancel();

    public void Follow(JobDirective directive)
    {
        switch (directive)
        {
            case JobDirective.Yield:
                _yield.Cancel();
                break;
            case JobDirective.Cancel:
                _cancelRequested = true;
                _cancelled.Cancel();
                break;
            case JobDirective.Lost:
                _lost = true;
                _cancelled.Cancel();
                break;
        }
    }

    public Heartbeat NextBeat()
    {
        lock (_gate)
        {
            _news = false;
            var beat = new Heartbeat
            {
                Progress = _progress,
                Message = _message,
                LogStart = _firstLine,
                Log = [.. _lines.Take(LinesPerBeat)],
                Metrics = _metrics,
            };
            _metrics = null;
            return beat;
        }
    }

    /// <summary>Forgets the lines that Scheduling has stored.</summary>
    public void Sent(Heartbeat beat)
    {
        lock (_gate)
        {
            for (var stored = beat.LogStart + beat.Log.Count; _firstLine < stored; _firstLine++)
            {
                _lines.Dequeue();
            }
        }
    }

    private void Report(double progress, string message, IReadOnlyDictionary<string, double>? metrics, string[] log)
    {
        lock (_gate)
        {
            (_progress, _message, _news) = (progress, message, true);
            foreach (var line in log)
            {
                _lines.Enqueue(line);
            }
            for (; _lines.Count > MaxUnsentLines; _firstLine++)
            {
                _lines.Dequeue();
            }
            foreach (var (name, value) in metrics ?? new Dictionary<string, double>())
            {
                if (double.IsFinite(value)) // JSON has no name for the rest.
                {
                    (_metrics ??= [])[name] = value;
                }
            }
        }
    }
}
