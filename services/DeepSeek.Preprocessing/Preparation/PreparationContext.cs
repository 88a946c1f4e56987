using DeepSeek.Data;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Preprocessing.Privacy;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>What one attempt at preparing a dataset works with.</summary>
internal sealed record PreparationContext
{
    public required Guid DatasetId { get; init; }
    public required DatasetSpec Spec { get; init; }
    public required DatasetSource Source { get; init; }

    /// <summary>Folder of the upload.</summary>
    public required string SpoolDirectory { get; init; }

    /// <summary>Empty private folder of this attempt; removed with all in it afterwards.</summary>
    public required string ScratchDirectory { get; init; }
    public required DuckDbLimits DuckDb { get; init; }
    public required MaskingKey Key { get; init; }
    public required PreparationSizes Sizes { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>Stores a file in the blob store: path, media type.</summary>
    public required Func<string, string, CancellationToken, Task<DatasetBlob>> Store { get; init; }

    /// <summary>Progress from 0 to 1, and what is being done.</summary>
    public required Action<double, string> Report { get; init; }
}

/// <param name="ShardBytes">Aimed at for one shard.</param>
/// <param name="BlockRows">Most rows of a block of a table.</param>
/// <param name="BlockImages">Images of a block.</param>
/// <param name="SampleRows">Most rows of a part's sample.</param>
/// <param name="SampleBytes">About the most bytes of it, before compression.</param>
/// <param name="BlockBytes">Most bytes of a block of more than one row.</param>
internal sealed record PreparationSizes(long ShardBytes = 64L << 20, int BlockRows = 4096, int BlockImages = 1024, int SampleRows = 20_000, long SampleBytes = 32L << 20, long BlockBytes = 32L << 20);

/// <summary>What an attempt made; all but the rows of the database.</summary>
internal sealed record PreparedDataset(DatasetManifest Manifest, byte[] ManifestBytes, string ManifestSha256, byte[] ProfileBytes);
