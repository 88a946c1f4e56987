using System.Globalization;
using DeepSeek.Inference.Protocol;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Generation;

/// <summary>Memory that the keys and values of all texts being written here may take. A text gets all it may come to need before it begins.</summary>
internal sealed class CacheBudget(IOptions<InferenceOptions> options)
{
    private const int RetryAfterSeconds = 1;
    private readonly Lock _gate = new();
    private readonly long _bytes = (long)options.Value.GenerationCacheMiB << 20;
    private long _taken;

    /// <summary>Bytes that are given out.</summary>
    public long Taken
    {
        get
        {
            lock (_gate)
            {
                return _taken;
            }
        }
    }

    /// <summary>Gives out so many bytes until the result is disposed.</summary>
    /// <exception cref="InferenceException">400: more than there are altogether. 429: more than are free now.</exception>
    public IDisposable Take(long bytes)
    {
        if (bytes > _bytes)
        {
            throw InferenceException.BadRequest(
                $"The keys and values of this text take up to {MiB(bytes)} MiB, and {MiB(_bytes)} MiB may be taken. Ask for fewer tokens, or have Inference:GenerationCacheMiB raised.");
        }

        lock (_gate)
        {
            if (_taken + bytes > _bytes)
            {
                throw new InferenceException(
                    StatusCodes.Status429TooManyRequests,
                    $"The texts being written take {MiB(_taken)} of {MiB(_bytes)} MiB for keys and values, and this one needs up to {MiB(bytes)}; send the request again in {RetryAfterSeconds} s.",
                    RetryAfterSeconds);
            }

            _taken += bytes;
        }

        InferenceTelemetry.GenerationCache.Add(bytes);
        return new Share(this, bytes);
    }

    private static string MiB(long bytes) => Math.Ceiling(bytes / (double)(1 << 20)).ToString("0", CultureInfo.InvariantCulture);

    private sealed class Share(CacheBudget budget, long bytes) : IDisposable
    {
        private int _given;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _given, 1) == 1)
            {
                return;
            }

            lock (budget._gate)
            {
                budget._taken -= bytes;
            }

            InferenceTelemetry.GenerationCache.Add(-bytes);
        }
    }
}
