using DeepSeek.Contracts.Jobs;
using MassTransit;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>Tells Scheduling that this process is there, and gives its jobs back when it stops.</summary>
internal sealed partial class JobWorker(JobRunner runner, IBus bus, JobWorkerOptions options, TimeProvider clock, ILogger<JobWorker> logger)
    : BackgroundService
{
    private static readonly TimeSpan PublishTimeout = TimeSpan.FromSeconds(4);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(options.SeenSeconds), clock);
        do
        {
            await TellAsync(options.Slots, stoppingToken);
        }
        while (await timer.WaitForNextTickAsync(stoppingToken).AsTask().ContinueWith(
            tick => tick.IsCompletedSuccessfully && tick.Result, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default));
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        // First the slots, so that the jobs given back are not offered to this process again.
        await TellAsync(slots: 0, cancellationToken);
        await runner.StopAsync(TimeSpan.FromSeconds(options.YieldSeconds));
    }

    private async Task TellAsync(int slots, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(slots > 0 ? PublishTimeout : TimeSpan.FromMilliseconds(500));
        try
        {
            await bus.Publish(
                new WorkerSeen
                {
                    WorkerId = runner.WorkerId,
                    Kind = runner.Kind,
                    Slots = slots,
                    Busy = runner.Busy,
                    Host = Environment.MachineName,
                    At = clock.GetUtcNow(),
                    Rating = WorkerRating.Of(runner.Kind),
                    Devices = WorkerRating.Devices(),
                },
                // A sign of life that waited in a queue tells of the past.
                context => context.TimeToLive = TimeSpan.FromSeconds(options.SeenSeconds * 2),
                timeout.Token);
        }
        catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
        {
            // The next one follows shortly; the jobs themselves are kept by heartbeats over HTTP.
            LogUnheard(logger, runner.Kind, exception.Message);
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    [LoggerMessage(LogLevel.Warning, "The '{Kind}' worker's sign of life did not get through: {Reason}")]
    private static partial void LogUnheard(ILogger logger, string kind, string reason);
}
