using System.Globalization;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace DeepSeek.Gateway.Limits;

/// <summary>
/// A token bucket per key (per address for callers without one), kept in Redis so that replicas share it. Without Redis requests pass,
/// which a metric and a warning tell.
/// </summary>
internal sealed partial class RateLimit(
    RequestDelegate next, Cache cache, IOptions<GatewayOptions> options, GatewayMetrics metrics, TimeProvider time, ILogger<RateLimit> logger)
{
    /// <summary>Takes one token; returns milliseconds until there is one, 0 if it was taken. Redis's clock is the only one in use.</summary>
    private const string Script = """
        local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
        local clock = redis.call('TIME')
        local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
        local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
        local tokens = tonumber(state[1]) or burst
        local at = tonumber(state[2]) or now
        tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000)
        local wait = 0
        if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) * 1000 / rate) end
        redis.call('HMSET', KEYS[1], 'tokens', tostring(tokens), 'at', now)
        redis.call('PEXPIRE', KEYS[1], math.ceil(burst * 1000 / rate) + 1000)
        return wait
        """;

    private static readonly TimeSpan s_warnEvery = TimeSpan.FromSeconds(10);
    private long _nextWarning;

    public async Task InvokeAsync(HttpContext http)
    {
        if (http.Request.Path == HttpDefaultsExtensions.HealthPath || http.Request.Path == HttpDefaultsExtensions.AlivePath)
        {
            await next(http);
            return;
        }

        var wait = await TakeAsync(http);
        if (wait > TimeSpan.Zero)
        {
            metrics.Limited();
            await http.WriteProblemAsync(new ApiProblem(StatusCodes.Status429TooManyRequests, "Too many requests",
                string.Create(CultureInfo.InvariantCulture, $"This key may send {options.Value.RequestsPerSecond} requests per second, {options.Value.Burst} at once; wait {wait.TotalMilliseconds} ms."))
            {
                RetryAfter = wait,
                Extensions = new Dictionary<string, object?> { ["retryAfterMs"] = (long)wait.TotalMilliseconds },
            });
            return;
        }

        await next(http);
    }

    private async Task<TimeSpan> TakeAsync(HttpContext http)
    {
        var bucket = http.User.Identity?.IsAuthenticated == true ? http.User.ApiKeyId() : "ip:" + http.Connection.RemoteIpAddress;
        try
        {
            var wait = await cache.RunAsync(redis => redis.ScriptEvaluateAsync(Script,
                [(RedisKey)("deepseek:gateway:rate:" + bucket)], [options.Value.RequestsPerSecond, options.Value.Burst]), http.RequestAborted);
            return TimeSpan.FromMilliseconds((long)wait);
        }
        catch (CacheAwayException exception)
        {
            metrics.CacheAway("rate limit");
            var now = time.GetTimestamp();
            var due = Interlocked.Read(ref _nextWarning);
            if (now >= due && Interlocked.CompareExchange(ref _nextWarning, now + (long)(s_warnEvery.TotalSeconds * time.TimestampFrequency), due) == due)
            {
                LogOpen(exception.Message);
            }

            return TimeSpan.Zero;
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Reason} Requests pass without a rate limit")]
    private partial void LogOpen(string reason);
}
