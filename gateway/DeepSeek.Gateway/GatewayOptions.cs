using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Gateway;

/// <summary>Configuration section <c>Gateway</c>.</summary>
public sealed class GatewayOptions
{
    public const string Section = "Gateway";

    /// <summary>Requests per second that one key may send on average. Default 200, 0.1 to 1 000 000.</summary>
    [Range(0.1, 1e6)]
    public double RequestsPerSecond { get; set; } = 200;

    /// <summary>Requests one key may send at once after a pause. Default 400, 1 to 1 000 000.</summary>
    [Range(1, 1_000_000)]
    public int Burst { get; set; } = 400;

    /// <summary>Largest body of a dataset or blob upload, in bytes. Default 8 GiB, 1 KiB to 1 TiB.</summary>
    [Range(1L << 10, 1L << 40)]
    public long UploadLimit { get; set; } = 8L << 30;

    /// <summary>Largest body of any other request, in bytes. Default 32 MiB, 1 KiB to 2 GiB.</summary>
    [Range(1L << 10, 1L << 31)]
    public long BodyLimit { get; set; } = 32L << 20;

    /// <summary>How long nothing may move between gateway and service before the request ends with 504. Default 5 minutes, 1 s to 1 h.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "01:00:00")]
    public TimeSpan ActivityTimeout { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How long a response is kept for a repeated <c>Idempotency-Key</c>. Default 24 h, 1 minute to 30 days.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "30.00:00:00")]
    public TimeSpan IdempotencyLife { get; set; } = TimeSpan.FromHours(24);

    /// <summary>How often the keys are read again, which bounds the time until a revocation is known to all replicas. Default 1 s, 50 ms to 2 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.050", "00:00:02")]
    public TimeSpan KeyRefresh { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a request waits for Redis before it goes on without: 750 ms by default, 50 ms to 1 minute.</summary>
    [Range(typeof(TimeSpan), "00:00:00.050", "00:01:00")]
    public TimeSpan CachePatience { get; set; } = TimeSpan.FromMilliseconds(750);

    /// <summary>How long the merged OpenAPI document is kept. Default 30 s, 0 to 1 h.</summary>
    [Range(typeof(TimeSpan), "00:00:00", "01:00:00")]
    public TimeSpan OpenApiLife { get; set; } = TimeSpan.FromSeconds(30);
}
