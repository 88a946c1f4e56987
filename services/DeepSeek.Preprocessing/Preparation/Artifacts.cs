using System.Security.Cryptography;
using System.Text.Json;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Profiles;
using DeepSeek.Preprocessing.Shards;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>Moves what an attempt made into the blob store, file by file.</summary>
internal sealed class Artifacts(PreparationContext context)
{
    private const string Tar = "application/x-tar";
    private const string GzipJsonLines = "application/gzip";
    private const string Json = "application/json";

    public async Task<DatasetBlob> StoreAsync(string name, string mediaType, Action<Stream> write, CancellationToken cancellationToken)
    {
        var path = Path.Combine(context.ScratchDirectory, name);
        using (var stream = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16))
        {
            write(stream);
        }
        var blob = await context.Store(path, mediaType, cancellationToken);
        File.Delete(path);
        return blob;
    }

    /// <summary>The shards of a part and, for tables, its sample.</summary>
    public async Task<DatasetSplit> StoreAsync(RowStore rows, RowSample? sample, CancellationToken cancellationToken)
    {
        var shards = new List<DatasetShard>();
        foreach (var (path, count) in rows.WriteShards())
        {
            var blob = await context.Store(path, Tar, cancellationToken);
            File.Delete(path);
            shards.Add(new DatasetShard(blob.Sha256, blob.Bytes, count));
        }
        if (sample is null)
        {
            return new DatasetSplit(rows.Rows, shards, null);
        }
        var stored = await StoreAsync("sample.jsonl.gz", GzipJsonLines, sample.Write, cancellationToken);
        return new DatasetSplit(rows.Rows, shards, new DatasetSample(stored.Sha256, stored.Bytes, sample.Rows));
    }

    /// <summary>Profile, then the manifest that names everything.</summary>
    public async Task<PreparedDataset> FinishAsync(DatasetProfile profile, DatasetManifest manifest, CancellationToken cancellationToken)
    {
        var profileBytes = JsonSerializer.SerializeToUtf8Bytes(profile, ManifestParts.Json);
        var stored = await StoreAsync("profile.json", Json, stream => stream.Write(profileBytes), cancellationToken);
        var bytes = (manifest with { Profile = stored }).ToBytes();
        await StoreAsync("manifest.json", Json, stream => stream.Write(bytes), cancellationToken);
        return new PreparedDataset(manifest with { Profile = stored }, bytes, Convert.ToHexStringLower(SHA256.HashData(bytes)), profileBytes);
    }
}
