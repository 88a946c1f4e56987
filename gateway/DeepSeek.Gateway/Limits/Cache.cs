using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace DeepSeek.Gateway.Limits;

/// <summary>Redis, with a bound on how long a request may wait for it.</summary>
internal sealed class Cache(string connectionString, TimeSpan patience) : IDisposable
{
    private readonly Lazy<Task<ConnectionMultiplexer>> _connection = new(() => ConnectionMultiplexer.ConnectAsync(Configure(connectionString)));

    /// <summary>Runs one command; <see cref="CacheAwayException"/> when Redis does not answer in time.</summary>
    public async Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command, CancellationToken cancellationToken = default)
    {
        try
        {
            var connection = await _connection.Value.WaitAsync(patience, cancellationToken);
            return await command(connection.GetDatabase()).WaitAsync(patience, cancellationToken);
        }
        catch (Exception exception) when (exception is RedisException or TimeoutException or InvalidOperationException)
        {
            throw new CacheAwayException(exception);
        }
    }

    public void Dispose()
    {
        if (_connection is { IsValueCreated: true, Value.IsCompletedSuccessfully: true })
        {
            _connection.Value.Result.Dispose();
        }
    }

    private static ConfigurationOptions Configure(string connectionString)
    {
        var options = ConfigurationOptions.Parse(connectionString);
        // The multiplexer must come up without Redis and find it later.
        options.AbortOnConnectFail = false;
        options.ConnectTimeout = 2000;
        options.ClientName = "gateway";
        return options;
    }
}

internal sealed class CacheAwayException(Exception inner) : Exception("Redis does not answer: " + inner.Message, inner);

internal sealed class CacheHealthCheck(Cache cache) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        try
        {
            await cache.RunAsync(redis => redis.PingAsync(), cancellationToken);
            return HealthCheckResult.Healthy();
        }
        catch (CacheAwayException exception)
        {
            // Requests still pass: without a rate limit, and without Idempotency-Key.
            return HealthCheckResult.Degraded(exception.Message);
        }
    }
}

internal static class CacheExtensions
{
    public static void AddCache(this WebApplicationBuilder builder, string name)
    {
        var connectionString = builder.Configuration.GetConnectionString(name)
            ?? throw new InvalidOperationException($"Set ConnectionStrings__{name}; the application host injects it with WithReference.");
        builder.Services.AddSingleton(services => new Cache(connectionString, services.GetRequiredService<IOptions<GatewayOptions>>().Value.CachePatience));
        builder.Services.AddHealthChecks().AddCheck<CacheHealthCheck>(name);
    }
}
