using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace DeepSeek.Preprocessing;

internal static class PreprocessingTelemetry
{
    public static readonly ActivitySource Source = new("DeepSeek.Preprocessing");

    private static readonly Meter Meter = new("DeepSeek.Preprocessing");

    public static readonly Counter<long> UploadedBytes =
        Meter.CreateCounter<long>("deepseek.preprocessing.upload.received", "By", "Bytes of accepted uploads.");

    public static readonly Counter<long> RefusedUploads =
        Meter.CreateCounter<long>("deepseek.preprocessing.upload.refused", "{upload}", "Uploads refused because of their content.");

    public static readonly Counter<long> PreparedRows =
        Meter.CreateCounter<long>("deepseek.preprocessing.row.prepared", "{row}", "Rows of prepared datasets.");
}
