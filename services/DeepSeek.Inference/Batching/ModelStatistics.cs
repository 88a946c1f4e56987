using System.Diagnostics;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.Batching;

/// <summary>How a request ended.</summary>
internal enum Outcome
{
    Success,
    Fail,
    Rejected,
    Cancelled,
}

/// <summary>Counts and durations of one model version, with the meaning Triton's statistics extension gives them.</summary>
internal sealed class ModelStatistics(TimeProvider time, KeyValuePair<string, object?>[] tags)
{
    private readonly Lock _gate = new();
    private readonly SortedDictionary<long, BatchTotals> _batches = [];
    private readonly Snapshot _totals = new();

    public void RecordExecution(IReadOnlyList<(InferenceWork Work, long Enqueued)> batch, ExecutionTimes times)
    {
        var rows = batch.Sum(b => b.Work.Rows);
        var input = Nanoseconds(times.Start, times.InputReady);
        var infer = Nanoseconds(times.InputReady, times.Computed);
        var output = Nanoseconds(times.Computed, times.End);
        InferenceTelemetry.Rows.Add(rows, tags);
        InferenceTelemetry.Executions.Add(1, tags);
        InferenceTelemetry.BatchRows.Record(rows, tags);
        InferenceTelemetry.ComputeDuration.Record(Stopwatch.GetElapsedTime(times.InputReady, times.Computed).TotalSeconds, tags);
        lock (_gate)
        {
            _totals.LastInference = time.GetUtcNow().ToUnixTimeMilliseconds();
            _totals.InferenceCount += rows;
            _totals.ExecutionCount++;
            foreach (var (_, enqueued) in batch)
            {
                InferenceTelemetry.QueueDuration.Record(Stopwatch.GetElapsedTime(enqueued, times.Start).TotalSeconds, tags);
                _totals.Queue.Add(Nanoseconds(enqueued, times.Start));
                _totals.ComputeInput.Add(input);
                _totals.ComputeInfer.Add(infer);
                _totals.ComputeOutput.Add(output);
            }

            if (!_batches.TryGetValue(rows, out var totals))
            {
                _batches.Add(rows, totals = new());
            }

            totals.ComputeInput.Add(input);
            totals.ComputeInfer.Add(infer);
            totals.ComputeOutput.Add(output);
        }
    }

    /// <summary>Counts a whole request, however many executions it took.</summary>
    public void RecordRequest(Outcome outcome, long started)
    {
        InferenceTelemetry.Requests.Add(1, [.. tags, new(InferenceTelemetry.OutcomeTag, outcome.ToString().ToLowerInvariant())]);
        lock (_gate)
        {
            (outcome == Outcome.Success ? _totals.Success : _totals.Fail).Add(Nanoseconds(started, Stopwatch.GetTimestamp()));
        }
    }

    /// <summary>Calls <paramref name="read"/> with totals that belong together.</summary>
    public T Read<T>(Func<Snapshot, IReadOnlyDictionary<long, BatchTotals>, T> read)
    {
        lock (_gate)
        {
            return read(_totals, _batches);
        }
    }

    private static long Nanoseconds(long from, long to) => (long)Stopwatch.GetElapsedTime(from, to).TotalNanoseconds;

    internal sealed class Snapshot
    {
        public long LastInference { get; set; }

        public long InferenceCount { get; set; }

        public long ExecutionCount { get; set; }

        public Duration Success { get; } = new();

        public Duration Fail { get; } = new();

        public Duration Queue { get; } = new();

        public Duration ComputeInput { get; } = new();

        public Duration ComputeInfer { get; } = new();

        public Duration ComputeOutput { get; } = new();
    }

    internal sealed class BatchTotals
    {
        public Duration ComputeInput { get; } = new();

        public Duration ComputeInfer { get; } = new();

        public Duration ComputeOutput { get; } = new();
    }

    internal sealed class Duration
    {
        public long Count { get; private set; }

        public long Ns { get; private set; }

        public void Add(long nanoseconds)
        {
            Count++;
            Ns += nanoseconds;
        }
    }
}
