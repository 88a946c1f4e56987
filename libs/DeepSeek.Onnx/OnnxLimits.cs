namespace DeepSeek.Onnx;

/// <summary>What <see cref="OnnxModels"/> accepts.</summary>
public sealed record OnnxLimits
{
    public static OnnxLimits Default { get; } = new();

    /// <summary>Largest serialised model, in bytes. Default 1 GiB; protobuf itself ends at 2 GiB.</summary>
    public long MaxBytes { get; init; } = 1L << 30;

    /// <summary>Most nodes of a graph, subgraphs included. Default 100 000.</summary>
    public int MaxNodes { get; init; } = 100_000;

    /// <summary>Oldest and newest IR version. Default 3 to 10.</summary>
    public (long Oldest, long Newest) IrVersions { get; init; } = (3, 10);

    /// <summary>Accepted operator domains with their oldest and newest versions.</summary>
    public IReadOnlyDictionary<string, (long Oldest, long Newest)> Domains { get; init; } =
        new Dictionary<string, (long, long)>(StringComparer.Ordinal)
        {
            [""] = (7, 21),
            [OnnxGraph.MlDomain] = (1, 5),
            ["com.microsoft"] = (1, 1),
            [BlockSparseNode.Domain] = (1, BlockSparseNode.Version),
        };
}
