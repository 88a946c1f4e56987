using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace DeepSeek.Compression;

internal static class CompressionTelemetry
{
    private const string Name = "DeepSeek.Compression";
    private static readonly Meter s_meter = new(Name);

    public static readonly ActivitySource Source = new(Name);

    /// <summary>Tag <c>outcome</c>: succeeded or refused.</summary>
    public static readonly Counter<long> Candidates =
        s_meter.CreateCounter<long>("deepseek.compression.candidates", "{candidate}", "Candidates measured against their accuracy budget.");

    public static readonly Counter<long> SavedBytes =
        s_meter.CreateCounter<long>("deepseek.compression.saved", "By", "Bytes by which accepted candidates are smaller than what they came from.");
}
