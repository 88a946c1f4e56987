using DeepSeek.Contracts.Registry;

namespace DeepSeek.Contracts.Training;

/// <summary>A run has ended with a model, whose files are in the blob store; the registry makes it a version.</summary>
public sealed record ModelTrained
{
    public required Guid RunId { get; init; }

    public required string ModelName { get; init; }

    /// <summary>Who asked for the run; becomes the version's author.</summary>
    public required string Owner { get; init; }

    public required Guid DatasetId { get; init; }

    public required string DatasetManifestSha256 { get; init; }

    /// <summary><c>model.onnx</c>, <c>weights.safetensors</c>, <c>model.json</c>.</summary>
    public required IReadOnlyList<Artifact> Artifacts { get; init; }

    /// <summary>Metrics on the test split, for example <c>accuracy</c>.</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>What trained it, for example <c>deepseek.engine/0.1.0</c>.</summary>
    public required string Framework { get; init; }

    public required DateTimeOffset At { get; init; }
}
