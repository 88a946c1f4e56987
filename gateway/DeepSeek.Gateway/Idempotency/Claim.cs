using System.Text.Json;
using DeepSeek.Gateway.Limits;
using DeepSeek.ServiceDefaults;
using StackExchange.Redis;

namespace DeepSeek.Gateway.Idempotency;

/// <summary>What Redis holds under an Idempotency-Key: first that somebody works on it, then the response.</summary>
internal sealed record ClaimState(string Fingerprint, string Owner, StoredResponse? Response);

/// <param name="Body">Null when the response forbade to store it: it held a secret.</param>
internal sealed record StoredResponse(int Status, Dictionary<string, string> Headers, byte[]? Body)
{
    private static readonly string[] s_kept = ["Content-Type", "Location", "ETag", "Cache-Control", "Retry-After", "X-Prediction-Id"];

    private static readonly string[] s_keptOfSecrets = ["Location"];

    public static StoredResponse Of(HttpResponse response, byte[] body)
    {
        // Refusals forbid storing as well, as a rule of the framework, and hold no secret.
        var secret = response.StatusCode is >= 200 and < 300 && response.GetTypedHeaders().CacheControl?.NoStore == true;
        return new(
            response.StatusCode,
            (secret ? s_keptOfSecrets : s_kept).Where(response.Headers.ContainsKey).ToDictionary(name => name, name => response.Headers[name].ToString()),
            secret ? null : body);
    }
}

/// <summary>One request's hold on an Idempotency-Key.</summary>
internal sealed class Claim(Cache cache, string key, string fingerprint, TimeSpan life, TimeProvider time)
{
    private const string RenewScript = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
    private const string ReleaseScript = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

    private readonly string _mine = JsonSerializer.Serialize(new ClaimState(fingerprint, Guid.NewGuid().ToString("N"), null), PlatformJson.Options);

    public string Fingerprint { get; } = fingerprint;

    /// <summary>Null when the key is now ours, else what is there.</summary>
    public async Task<ClaimState?> TakeAsync(CancellationToken cancellationToken)
    {
        // Between a refused SET and the GET the holder may let go: then it is ours to take after all.
        while (true)
        {
            if (await cache.RunAsync(redis => redis.StringSetAsync(key, _mine, life, When.NotExists), cancellationToken))
            {
                return null;
            }

            var there = await cache.RunAsync(redis => redis.StringGetAsync(key), cancellationToken);
            if (there.HasValue)
            {
                return JsonSerializer.Deserialize<ClaimState>((string)there!, PlatformJson.Options);
            }
        }
    }

    /// <summary>Stores the response, or frees the key when there is none to keep.</summary>
    public Task EndAsync(StoredResponse? response, TimeSpan kept) => response is null
        ? cache.RunAsync(redis => redis.ScriptEvaluateAsync(ReleaseScript, [key], [_mine]))
        : cache.RunAsync(redis => redis.StringSetAsync(key,
            JsonSerializer.Serialize(new ClaimState(Fingerprint, "", response), PlatformJson.Options), kept));

    /// <summary>Keeps the hold while the request runs, however long.</summary>
    public IAsyncDisposable Renew() => time.CreateTimer(_ => _ = RenewOnceAsync(), null, life / 3, life / 3);

    private async Task RenewOnceAsync()
    {
        try
        {
            await cache.RunAsync(redis => redis.ScriptEvaluateAsync(RenewScript, [key], [_mine, (long)life.TotalMilliseconds]));
        }
        catch (CacheAwayException)
        {
            // The next tick tries again; should Redis stay away, EndAsync tells.
        }
    }
}
