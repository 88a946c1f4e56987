using DeepSeek.Scheduling.Signals;
using Microsoft.Extensions.Options;

namespace DeepSeek.Scheduling.Planning;

/// <summary>Plans whenever something changed and at least once a tick. Every replica runs it; a lock in the database lets one plan at a time.</summary>
public sealed partial class SchedulerLoop(
    IServiceScopeFactory scopes, JobSignals signals, IOptions<SchedulingOptions> options, TimeProvider clock, ILogger<SchedulerLoop> logger)
    : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var changes = signals.Subscribe(null);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await using var scope = scopes.CreateAsyncScope();
                await scope.ServiceProvider.GetRequiredService<Scheduler>().TickAsync(stoppingToken);
                await changes.WaitAsync(TimeSpan.FromMilliseconds(options.Value.TickMilliseconds), clock, stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception)
            {
                // The loop is what brings jobs back after any fault, the database's own included: it never ends by itself.
                LogFault(logger, exception);
                await Task.Delay(TimeSpan.FromSeconds(1), clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    [LoggerMessage(LogLevel.Error, "Planning failed; the next try follows in a second.")]
    private static partial void LogFault(ILogger logger, Exception exception);
}
