using System.ComponentModel.DataAnnotations;

namespace DeepSeek.ServiceDefaults;

/// <summary>How a service reaches the blob store. Configuration section <c>Blobs</c>.</summary>
public sealed class BlobStoreOptions
{
    public const string Section = "Blobs";

    /// <summary>Folder of the local cache. Default: <c>cache/blobs</c> in the data folder, shared by the services of one machine.</summary>
    public string? CacheDirectory { get; set; }

    /// <summary>Bytes the cache may hold after an eviction. Default 10 GiB, at least 1 MiB.</summary>
    [Range(1L << 20, long.MaxValue)]
    public long CacheBytes { get; set; } = 10L << 30;

    /// <summary>
    /// A file used within this time is not evicted, since its reader may be about to open it: for so long the cache may exceed its bytes.
    /// Default 10 minutes, 0 to 1 day.
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00", "1.00:00:00")]
    public TimeSpan CacheKeep { get; set; } = TimeSpan.FromMinutes(10);

    /// <summary>Tries of one transfer before it fails; a download goes on where the last try stopped. Default 12 (about a minute of waiting in all), 1 to 100.</summary>
    [Range(1, 100)]
    public int Attempts { get; set; } = 12;

    /// <summary>Wait before the second try; it doubles up to 10 seconds. Default 200 ms, 0 to 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00", "00:00:10")]
    public TimeSpan FirstBackoff { get; set; } = TimeSpan.FromMilliseconds(200);

    /// <summary>A transfer in which no byte moves for this long is tried again. Default 60 s, 1 s to 1 hour.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "01:00:00")]
    public TimeSpan StallTimeout { get; set; } = TimeSpan.FromSeconds(60);
}
