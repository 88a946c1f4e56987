using System.Security.Cryptography;
using DeepSeek.Data;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Training.Runs;

/// <summary>Lays out a run's folder as the trainer reads it: spec, manifest, pipeline and the shards of every split.</summary>
public sealed class RunInput(BlobClient blobs)
{
    public async Task PrepareAsync(Run run, string folder, JobContext job, CancellationToken cancellationToken)
    {
        try
        {
            Directory.CreateDirectory(Path.Combine(folder, "data"));
            await File.WriteAllTextAsync(Path.Combine(folder, "spec.json"), run.Spec, cancellationToken);
            var bytes = await blobs.ReadAsync(run.DatasetManifestSha256, cancellationToken);
            await File.WriteAllBytesAsync(Path.Combine(folder, "dataset.json"), bytes, cancellationToken);
            var manifest = DatasetManifest.Parse(bytes);
            await FetchAsync(manifest.Pipeline.Sha256, Path.Combine(folder, "pipeline.onnx"), cancellationToken);
            var shards = manifest.Splits.Values.SelectMany(split => split.Shards).Select(shard => shard.Sha256).Distinct().ToList();
            for (var i = 0; i < shards.Count; i++)
            {
                job.Report(0, $"fetching data, shard {i + 1} of {shards.Count}");
                await FetchAsync(shards[i], Path.Combine(folder, "data", $"{shards[i]}.tar"), cancellationToken);
            }
        }
        catch (InvalidDataException fault)
        {
            throw new JobRefusedException(fault.Message, fault);
        }
        catch (BlobNotFoundException fault)
        {
            throw new JobRefusedException($"A part of dataset '{run.DatasetId}' is gone from the registry (blob {fault.Sha256}); prepare it again.", fault);
        }
    }

    /// <summary>A file that an earlier attempt left is taken when its bytes are right.</summary>
    private async Task FetchAsync(string sha256, string path, CancellationToken cancellationToken)
    {
        if (!File.Exists(path) || await HashAsync(path, cancellationToken) != sha256)
        {
            await blobs.DownloadAsync(sha256, path, cancellationToken);
        }
    }

    private static async Task<string> HashAsync(string path, CancellationToken cancellationToken)
    {
        await using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
    }
}
