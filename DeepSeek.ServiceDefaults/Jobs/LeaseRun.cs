using System.Diagnostics;
using DeepSeek.Contracts.Jobs;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>One lease from acceptance to its end: the handler in the middle, heartbeats beside it.</summary>
internal sealed partial class LeaseRun(
    IServiceProvider services, Func<IServiceProvider, IJobHandler> handler, LeaseClient client, RunJob offer, LeasedJob job,
    JobWorkerOptions options, TimeProvider clock, ILogger logger)
{
    private static readonly ActivitySource Source = new("DeepSeek.Jobs");

    /// <summary>Beats follow news at once, but not faster than this.</summary>
    private static readonly TimeSpan NewsPause = TimeSpan.FromMilliseconds(500);

    /// <summary>How the lease ended, for Scheduling to be told; null when it is no longer this worker's.</summary>
    /// <param name="handlerEnded">Called once the work itself is over; what follows only tells of it.</param>
    public async Task<EndLease?> RunAsync(Action handlerEnded)
    {
        using var activity = Source.StartActivity($"job {offer.Kind}");
        activity?.SetTag("deepseek.job.id", offer.JobId).SetTag("deepseek.job.attempt", offer.Attempt);
        LogStarted(logger, offer.Kind, offer.JobId, offer.Attempt);
        job.Beat = SendBeatAsync;
        using var finished = new CancellationTokenSource();
        var beating = BeatAsync(finished.Token);
        var end = await RunHandlerAsync();
        handlerEnded();
        await finished.CancelAsync();
        await beating;
        if (end is null)
        {
            LogDropped(logger, offer.Kind, offer.JobId, offer.Attempt);
            return null;
        }
        activity?.SetTag("deepseek.job.outcome", end.Outcome);
        LogEnded(logger, offer.Kind, offer.JobId, end.Outcome, end.Error);
        return end;
    }

    /// <summary>Null when the lease ends without a word, because it is no longer this worker's.</summary>
    private async Task<EndLease?> RunHandlerAsync()
    {
        try
        {
            await handler(services).RunAsync(job, job.Cancelled);
            return job.Dropped ? null : job.End ?? Stopped() ?? new EndLease
            {
                Outcome = LeaseOutcome.Failed,
                Error = $"The '{offer.Kind}' handler returned without a result.",
                Retryable = true,
            };
        }
        catch (OperationCanceledException) when (job.Cancelled.IsCancellationRequested || job.YieldRequested)
        {
            return job.Dropped ? null : Stopped();
        }
        catch (Exception exception) when (exception is JobRefusedException or ApiProblem { Status: < 500 and not 429 and not 408 })
        {
            return new EndLease { Outcome = LeaseOutcome.Failed, Error = exception.Message, Retryable = false };
        }
        catch (Exception exception)
        {
            if (job.Lost || job.Dropped)
            {
                return null;
            }
            LogFault(logger, exception, offer.Kind, offer.JobId, offer.Attempt);
            return new EndLease { Outcome = LeaseOutcome.Failed, Error = exception.Message, Retryable = true };
        }
    }

    /// <summary>What a handler means that stopped without saying how.</summary>
    private EndLease? Stopped() => job switch
    {
        { Lost: true } => null,
        { CancelRequested: true } => new EndLease { Outcome = LeaseOutcome.Cancelled },
        { YieldRequested: true } => new EndLease { Outcome = LeaseOutcome.Yielded },
        _ => null,
    };

    private async Task BeatAsync(CancellationToken finished)
    {
        var interval = TimeSpan.FromSeconds(Math.Min(offer.LeaseSeconds / 3.0, options.BeatSeconds));
        var pause = interval < NewsPause ? interval : NewsPause;
        while (!finished.IsCancellationRequested)
        {
            await SendBeatAsync();
            for (var waited = TimeSpan.Zero; waited < interval && !finished.IsCancellationRequested; waited += pause)
            {
                await Task.Delay(pause, clock, finished).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (job.HasNews)
                {
                    break;
                }
            }
        }
        if (job.HasNews && !job.Lost)
        {
            await SendBeatAsync();
        }
    }

    private async Task SendBeatAsync()
    {
        var beat = job.NextBeat();
        try
        {
            job.Follow(await client.BeatAsync(offer, beat, CancellationToken.None));
            job.Sent(beat);
        }
        catch (Exception exception) when (LeaseClient.IsTransient(exception))
        {
            // The work goes on: Scheduling renews the lease when it is back, and if it gave the job away meanwhile the next beat says so.
            LogUnheard(logger, offer.Kind, offer.JobId, exception.Message);
        }
    }

    [LoggerMessage(LogLevel.Information, "Job {JobId} ({Kind}) started, dispatch {Attempt}.")]
    private static partial void LogStarted(ILogger logger, string kind, Guid jobId, int attempt);

    [LoggerMessage(LogLevel.Information, "Job {JobId} ({Kind}) ended here: {Outcome}. {Error}")]
    private static partial void LogEnded(ILogger logger, string kind, Guid jobId, LeaseOutcome outcome, string? error);

    [LoggerMessage(LogLevel.Information, "Job {JobId} ({Kind}), dispatch {Attempt}, dropped: the lease is over.")]
    private static partial void LogDropped(ILogger logger, string kind, Guid jobId, int attempt);

    [LoggerMessage(LogLevel.Error, "Job {JobId} ({Kind}), dispatch {Attempt}, failed.")]
    private static partial void LogFault(ILogger logger, Exception exception, string kind, Guid jobId, int attempt);

    [LoggerMessage(LogLevel.Warning, "Scheduling does not answer for job {JobId} ({Kind}): {Reason}")]
    private static partial void LogUnheard(ILogger logger, string kind, Guid jobId, string reason);
}
