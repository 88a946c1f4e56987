using System.Text.Json.Serialization;

namespace DeepSeek.Contracts.Training;

/// <summary>What each token of a gpt attends to. Each kind has its own members; one of another kind is refused.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record AttentionSpec
{
    /// <summary>Which.</summary>
    public AttentionKind Kind { get; init; } = AttentionKind.Dense;

    /// <summary>blockSparse: share of the visible key blocks that is kept at most, above 0 to 1 (0.25).</summary>
    public double? Density { get; init; }

    /// <summary>blockSparse: share of the estimated attention that is kept, above 0 to 1; below 1 the fewest blocks that reach it (1).</summary>
    public double? Mass { get; init; }

    /// <summary>blockSparse: first key blocks, always kept, 0 to 1024 (1).</summary>
    public int? Sink { get; init; }

    /// <summary>blockSparse: key blocks before the diagonal's own, always kept, 0 to 1024 (1).</summary>
    public int? Window { get; init; }

    /// <summary>blockSparse: key blocks kept at least, 1 to 1024 (1).</summary>
    public int? Minimum { get; init; }

    /// <summary>blockSparse: tokens of a block, a multiple of 16 from 16 to 256; 64 and 128 are the fast ones on a GPU (64).</summary>
    public int? Block { get; init; }

    /// <summary>blockSparse: dimensions in which a learned gate of each layer compares blocks, 1 to 256; it chooses in place of the estimate, which it learns from (no gate).</summary>
    public int? Gate { get; init; }

    /// <summary>tokenSparse: keys that a query attends to at most, 1 to 2048 (64).</summary>
    public int? Tokens { get; init; }

    /// <summary>tokenSparse: heads of the indexer that chooses them (1).</summary>
    public int? IndexerHeads { get; init; }

    /// <summary>tokenSparse: elements of an indexer's head; heads · elements is at most 1/8 of the width (all that is allowed, at most 64).</summary>
    public int? IndexerDim { get; init; }

    /// <summary>Share of the steps in which the indexers or gates learn and do not choose yet, 0 to 0.9 (0.1): attention is dense (tokenSparse), or the estimate chooses (blockSparse with a gate).</summary>
    public double? Warmup { get; init; }
}

/// <summary>Kinds of attention.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<AttentionKind>))]
public enum AttentionKind
{
    /// <summary>To every token before.</summary>
    [JsonStringEnumMemberName("dense")] Dense = 1,
    /// <summary>To the blocks of tokens that an estimate picks for each block of queries.</summary>
    [JsonStringEnumMemberName("blockSparse")] BlockSparse = 2,
    /// <summary>To the tokens that a learned indexer picks for each query.</summary>
    [JsonStringEnumMemberName("tokenSparse")] TokenSparse = 3,
}
