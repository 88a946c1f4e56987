using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace DeepSeek.ServiceDefaults.Data;

/// <summary>Holds the service's start until its database answers and is at the newest version.</summary>
internal sealed partial class DatabaseMigrator<TDb>(NpgsqlDataSource database, TimeProvider time, ILogger<DatabaseMigrator<TDb>> logger)
    : IHostedLifecycleService
    where TDb : DbContext
{
    private static readonly TimeSpan s_firstDelay = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_longestDelay = TimeSpan.FromSeconds(5);

    // Starting comes before any StartAsync, so no consumer or dispatcher sees an old schema.
    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        for (var delay = s_firstDelay; ; delay = delay * 2 < s_longestDelay ? delay * 2 : s_longestDelay)
        {
            try
            {
                foreach (var script in await new Migrations(typeof(TDb).Assembly).ApplyAsync(database, cancellationToken))
                {
                    LogApplied(script);
                }

                return;
            }
            catch (NpgsqlException exception) when (IsNotThereYet(exception))
            {
                LogWaiting(exception.Message, delay.TotalSeconds);
                await Task.Delay(delay, time, cancellationToken);
            }
        }
    }

    private static bool IsNotThereYet(NpgsqlException exception) => exception switch
    {
        // The application host creates the database after the server has started.
        PostgresException { SqlState: PostgresErrorCodes.InvalidCatalogName } => true,
        PostgresException { SqlState: PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.TooManyConnections } => true,
        PostgresException => false,
        _ => true,
    };

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    [LoggerMessage(LogLevel.Information, "Applied {Script}")]
    private partial void LogApplied(string script);

    [LoggerMessage(LogLevel.Warning, "The database cannot be reached ({Reason}); trying again in {Seconds} s")]
    private partial void LogWaiting(string reason, double seconds);
}
