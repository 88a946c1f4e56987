using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Testing;

/// <summary>A lease without a Scheduling behind it: records what a handler says. It is never asked to stop.</summary>
public sealed class RecordedJob : JobContext
{
    public bool Dropped { get; private set; }
    public bool Yielded { get; private set; }
    public string? ResultUri { get; private set; }

    /// <summary>With which the handler failed the job for good or for another attempt.</summary>
    public (string Error, bool Retryable)? Failure { get; private set; }

    /// <summary>What the handler's flush does.</summary>
    public Func<Task> Flushing { get; init; } = () => Task.CompletedTask;

    public override CancellationToken YieldToken => CancellationToken.None;
    public override bool CancelRequested => false;
    public override bool Lost => false;

    public override void Report(double progress, string message, params string[] log)
    {
    }

    public override void Report(double progress, string message, IReadOnlyDictionary<string, double> metrics)
    {
    }

    public override Task FlushAsync() => Flushing();

    public override void Complete(DbContext db, string resultUri) => ResultUri = resultUri;

    public override void Fail(DbContext db, string error, bool retryable) => Failure = (error, retryable);

    public override void Yield(DbContext db) => Yielded = true;

    public override void Cancel(DbContext db) => throw new InvalidOperationException("Nobody cancelled this job.");

    public override void Drop() => Dropped = true;
}
