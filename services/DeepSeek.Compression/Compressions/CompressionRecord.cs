using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Compression.Compressions;

/// <summary>One requested compression and, at its end, its report. Refused: over its budget; the report has the numbers, no version was registered.</summary>
public sealed class CompressionRecord : JobSubject
{
    public required string ModelName { get; init; }
    public int ParentVersion { get; init; }
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>Artifacts of the parent version, JSON: name → hash.</summary>
    public required string ParentArtifacts { get; init; }

    /// <summary>The <see cref="CompressionSpec"/> as JSON.</summary>
    public required string Spec { get; init; }

    /// <summary>The <see cref="CompressionReport"/> as JSON.</summary>
    public string? Report { get; set; }

    public override string ResultUri => $"/api/v1/compressions/{Id}";
}
