using System.Globalization;
using System.Text.Json;
using DeepSeek.Cli.Output;

namespace DeepSeek.Cli.Quickstart;

/// <summary>What <c>quickstart.json</c> says.</summary>
internal sealed record QuickstartReport
{
    public required string Name { get; init; }
    public required DateTimeOffset At { get; init; }
    public required double Seconds { get; init; }

    /// <summary>SHA-256 of the dataset's manifest.</summary>
    public required string DatasetHash { get; init; }

    public required long Rows { get; init; }

    /// <summary>Accuracy on the held-out test split.</summary>
    public required double Accuracy { get; init; }

    /// <summary>Area under the ROC curve on the test split, macro average.</summary>
    public required double Auc { get; init; }

    public required double AccuracyInt8 { get; init; }
    public required long ModelBytesFp32 { get; init; }
    public required long ModelBytesInt8 { get; init; }

    /// <summary>Median latency of one row on ONNX Runtime, one thread, in milliseconds.</summary>
    public required double P50MsFp32 { get; init; }

    public required double P50MsInt8 { get; init; }

    /// <summary>Largest |Σφ + base − f(x)| of the explained rows; null for images, whose heat maps do not add up.</summary>
    public required double? AdditivityError { get; init; }

    public required string PredictionId { get; init; }

    /// <summary>From that prediction to the dataset's hash.</summary>
    public required JsonElement Lineage { get; init; }

    public required long AuditEntries { get; init; }

    public async Task WriteAsync(FileInfo file, CancellationToken cancelled)
    {
        var part = file.FullName + ".part";
        await File.WriteAllTextAsync(part, JsonSerializer.Serialize(this, JsonPrinter.Options) + "\n", cancelled);
        File.Move(part, file.FullName, overwrite: true);
    }

    public void Print(CommandContext context, FileInfo file)
    {
        static string Ms(double value) => value.ToString("F3", CultureInfo.InvariantCulture) + " ms";
        context.Print.Item(
            this,
            ("dataset", $"{Rows} rows, {DatasetHash}"),
            ("test accuracy", Accuracy.ToString("P2", CultureInfo.InvariantCulture)),
            ("AUC", Auc),
            ("INT8", $"{AccuracyInt8.ToString("P2", CultureInfo.InvariantCulture)}, {ModelBytesFp32} → {ModelBytesInt8} bytes ({((double)ModelBytesFp32 / ModelBytesInt8).ToString("F2", CultureInfo.InvariantCulture)} × smaller)"),
            ("latency p50", $"{Ms(P50MsFp32)} → {Ms(P50MsInt8)}"),
            ("additivity error", AdditivityError is { } error ? error.ToString("E1", CultureInfo.InvariantCulture) : null),
            ("lineage", $"prediction {PredictionId} → dataset {DatasetHash}"),
            ("audit log", $"{AuditEntries} entries, chain valid"),
            ("took", $"{Seconds:F0} s"),
            ("report", file.FullName));
    }
}
