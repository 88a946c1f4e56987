using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Registry;

/// <summary>Configuration section <c>Registry</c>.</summary>
public sealed class RegistryOptions
{
    public const string Section = "Registry";

    /// <summary>Folder of the blobs. Default: <c>registry/blobs</c> in the data folder.</summary>
    public string? BlobDirectory { get; set; }

    /// <summary>Largest blob in bytes. Default 64 GiB, at least 1.</summary>
    [Range(1, long.MaxValue)]
    public long MaxBlobBytes { get; set; } = 64L << 30;

    /// <summary>Bytes of the disk that uploads leave free for the databases beside them. Default 256 MiB, at least 0.</summary>
    [Range(0, long.MaxValue)]
    public long ReserveBytes { get; set; } = 256L << 20;

    /// <summary>How long a blob to which nothing refers is kept: it must outlast the slowest job between its first upload and its end. Default 24 hours.</summary>
    [Range(typeof(TimeSpan), "00:00:00", "365.00:00:00")]
    public TimeSpan Grace { get; set; } = TimeSpan.FromHours(24);

    /// <summary>Time between two collections. Default 1 hour, 1 s to 1 day.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan CollectEvery { get; set; } = TimeSpan.FromHours(1);

    /// <summary>Aliases that point only to approved versions. Default <c>production</c>.</summary>
    [MinLength(1)]
    public IReadOnlyList<string> GuardedAliases { get; set; } = ["production"];

    /// <summary>Approvals, by different people who are not the author, that a guarded alias needs. Default 1, 1 to 10.</summary>
    [Range(1, 10)]
    public int RequiredApprovals { get; set; } = 1;

    /// <summary>Secret that signs the audit log, at least 32 characters. Default: derived from the identity key.</summary>
    [MinLength(32)]
    public string? AuditKey { get; set; }
}
