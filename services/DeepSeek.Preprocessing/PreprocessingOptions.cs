using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Preprocessing;

/// <summary>Configuration section <c>Preprocessing</c>.</summary>
public sealed class PreprocessingOptions
{
    public const string Section = "Preprocessing";

    /// <summary>Largest upload in bytes, all files together. Default 16 GiB, at least 1 KiB.</summary>
    [Range(1024, long.MaxValue)]
    public long MaxUploadBytes { get; set; } = 16L << 30;

    /// <summary>Bytes of the disk that uploads leave free. Default 512 MiB, at least 0.</summary>
    [Range(0, long.MaxValue)]
    public long ReserveBytes { get; set; } = 512L << 20;

    /// <summary>Most bytes that a compressed upload (IDX.gz, zip) may unpack to. Default 32 GiB, at least 1 KiB.</summary>
    [Range(1024, long.MaxValue)]
    public long MaxUnpackedBytes { get; set; } = 32L << 30;

    /// <summary>Memory of DuckDB in MB; it fills all of it with file buffers when a table is larger, and gets 160 KB a column for wide ones. Default 256, 128 to 65 536.</summary>
    [Range(128, 65536)]
    public int DuckDbMegabytes { get; set; } = 256;

    /// <summary>Threads of DuckDB. Default 1: our own decoding is what takes the time. 1 to 64.</summary>
    [Range(1, 64)]
    public int DuckDbThreads { get; set; } = 1;

    /// <summary>Largest field of a text table in bytes. Default 1 MiB, 1 to 2 097 152.</summary>
    [Range(1, 2 << 20)]
    public int MaxFieldBytes { get; set; } = 1 << 20;

    /// <summary>Columns of a table. Default 4 096, 2 to 65 536.</summary>
    [Range(2, 65536)]
    public int MaxColumns { get; set; } = 4096;

    /// <summary>Bytes aimed at for one training shard. Default 64 MiB, 1 KiB to 1 GiB.</summary>
    [Range(1024, 1 << 30)]
    public long ShardBytes { get; set; } = 64L << 20;

    /// <summary>Rows of a part kept as its raw (masked) sample. Default 20 000, 1 to 1 000 000.</summary>
    [Range(1, 1_000_000)]
    public int SampleRows { get; set; } = 20_000;

    /// <summary>Age at which an upload folder without a dataset is removed while the service runs. Default 1 hour, 1 minute to 7 days.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "7.00:00:00")]
    public TimeSpan OrphanAge { get; set; } = TimeSpan.FromHours(1);
}
