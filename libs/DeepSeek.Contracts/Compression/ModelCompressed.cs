using DeepSeek.Contracts.Registry;

namespace DeepSeek.Contracts.Compression;

/// <summary>A compressed model has met its accuracy budget; the registry makes it a version of the same model.</summary>
public sealed record ModelCompressed
{
    public required Guid CompressionId { get; init; }

    public required string ModelName { get; init; }

    /// <summary>The version it was made from.</summary>
    public required int ParentVersion { get; init; }

    /// <summary>Who asked for it; becomes the version's author.</summary>
    public required string Owner { get; init; }

    /// <summary>For example <c>int8Static</c>.</summary>
    public required string Method { get; init; }

    public required IReadOnlyList<Artifact> Artifacts { get; init; }

    /// <summary>The numbers of the report: accuracies, sizes in bytes, latencies in milliseconds.</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>Hash of the report's JSON in the blob store, where one was written.</summary>
    public string? ReportSha256 { get; init; }

    public required DateTimeOffset At { get; init; }
}
