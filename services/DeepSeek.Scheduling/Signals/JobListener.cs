using Npgsql;

namespace DeepSeek.Scheduling.Signals;

/// <summary>Hears of changes that any replica made, through PostgreSQL's NOTIFY.</summary>
public sealed partial class JobListener(NpgsqlDataSource database, JobSignals signals, TimeProvider clock, ILogger<JobListener> logger)
    : BackgroundService
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await ListenAsync(stoppingToken);
            }
            catch (Exception exception) when (exception is NpgsqlException or TimeoutException or System.Net.Sockets.SocketException or IOException)
            {
                LogLost(logger, exception.Message);
                await Task.Delay(Pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
        }
    }

    private async Task ListenAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        connection.Notification += (_, notification) =>
            signals.Wake(Guid.TryParse(notification.Payload, out var id) ? id : null);
        await using (var listen = new NpgsqlCommand($"listen {JobSignals.Channel}", connection))
        {
            await listen.ExecuteNonQueryAsync(cancellationToken);
        }
        signals.Wake(null);
        while (true)
        {
            await connection.WaitAsync(cancellationToken);
        }
    }

    [LoggerMessage(LogLevel.Warning, "The listener for job changes lost its connection ({Reason}); until it is back, changes are found by polling.")]
    private static partial void LogLost(ILogger logger, string reason);
}
