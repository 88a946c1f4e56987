namespace DeepSeek.Inference.Batching;

/// <summary>
/// Rows a second that executions achieve, and from it when a refused sender should come back: after the queue before it
/// and all senders refused before it are served. Not thread-safe: the batcher's lock guards it.
/// </summary>
/// <param name="maxQueue">Requests that may wait. Senders told the same second come back at once: no more than fit may be told it.</param>
internal sealed class ServiceRate(TimeProvider time, int maxQueue)
{
    public const int MaxRetryAfterSeconds = 60;

    /// <summary>Weight of the newest execution: old ones fade within some tens.</summary>
    private const double Alpha = 0.1;

    /// <summary>Share of the queue that is promised to the senders of one second.</summary>
    private const double PromisedShare = 0.75;

    /// <summary>Sums of doubles land a little beside the whole second.</summary>
    private const double Rounding = 1e-6;

    private double _rows;
    private double _seconds;
    private double _promisedUntil;

    /// <summary>Rows a second; 0 before the first execution.</summary>
    public double RowsPerSecond => _seconds > 0 ? _rows / _seconds : 0;

    public void Record(long rows, double seconds)
    {
        var alpha = _seconds > 0 ? Alpha : 1;
        _rows += alpha * (rows - _rows);
        _seconds += alpha * (seconds - _seconds);
    }

    /// <summary>Whole seconds, at least 1, after which <paramref name="rows"/> more rows are expected to find room.</summary>
    public int PromiseRetryAfter(long queuedRows, long rows)
    {
        var rate = RowsPerSecond;
        if (rate <= 0)
        {
            return 1;
        }

        var now = time.GetTimestamp() / (double)time.TimestampFrequency;
        var free = Math.Max(_promisedUntil, now + (queuedRows / rate)) + Math.Max(rows / rate, 1 / (PromisedShare * maxQueue));
        // Promises beyond the cap would only push later senders further away without any of them being served sooner.
        _promisedUntil = Math.Min(free, now + MaxRetryAfterSeconds);
        return (int)Math.Clamp(Math.Ceiling(_promisedUntil - now - Rounding), 1, MaxRetryAfterSeconds);
    }
}
