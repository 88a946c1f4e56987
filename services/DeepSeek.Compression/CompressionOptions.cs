using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Compression;

/// <summary>Settings of the service, section <c>Compression</c>.</summary>
public sealed class CompressionOptions
{
    public const string Section = "Compression";

    /// <summary>Rows of the test split on which accuracy is measured at most. Default 20 000, 1 to 1 000 000.</summary>
    [Range(1, 1_000_000)]
    public int TestRows { get; set; } = 20_000;

    /// <summary>Timed runs of each model, one row each. Default 300, 200 to 100 000.</summary>
    [Range(200, 100_000)]
    public int TimedRuns { get; set; } = 300;

    /// <summary>Runs before timing starts. Default 20, 20 to 10 000.</summary>
    [Range(20, 10_000)]
    public int WarmUpRuns { get; set; } = 20;
}
