using System.Security.Cryptography;
using DeepSeek.Gateway.Data;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Npgsql;

namespace DeepSeek.Gateway.Keys;

/// <summary>
/// All keys that are not revoked, in memory and read again every second, so that no request waits for the database and a revocation
/// through any replica holds everywhere within two seconds. While the database is away the last state holds: nothing can be revoked then.
/// </summary>
internal sealed partial class ActiveKeys(
    IDbContextFactory<GatewayDb> contexts, IOptions<GatewayOptions> options, ILogger<ActiveKeys> logger) : BackgroundService
{
    private volatile IReadOnlyDictionary<string, ActiveKey> _byHash = new Dictionary<string, ActiveKey>();

    public ActiveKey? Find(string secret)
    {
        if (!ApiKeySecret.HasForm(secret))
        {
            return null;
        }

        var hash = ApiKeySecret.Hash(secret);
        // The look-up's time depends on the hash only, which tells nothing of how much of a secret was right.
        return _byHash.TryGetValue(Convert.ToHexString(hash), out var key) && CryptographicOperations.FixedTimeEquals(hash, key.Hash) ? key : null;
    }

    public async Task RefreshAsync(CancellationToken cancellationToken)
    {
        await using var db = await contexts.CreateDbContextAsync(cancellationToken);
        var keys = await db.ApiKeys.Where(key => key.RevokedAt == null)
            .Select(key => new ActiveKey(key.Id, key.Name, key.Role, key.Hash)).ToListAsync(cancellationToken);
        _byHash = keys.ToDictionary(key => Convert.ToHexString(key.Hash));
    }

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await RefreshAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.Value.KeyRefresh);
        var stale = false;
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await RefreshAsync(stoppingToken);
                stale = false;
            }
            catch (Exception exception) when (exception is NpgsqlException or InvalidOperationException or TimeoutException)
            {
                if (!stale)
                {
                    LogStale(exception.Message);
                }

                stale = true;
            }
        }
    }

    [LoggerMessage(LogLevel.Warning, "The API keys cannot be read again ({Reason}); the last known ones stay in force")]
    private partial void LogStale(string reason);
}

internal sealed record ActiveKey(Guid Id, string Name, string Role, byte[] Hash);
