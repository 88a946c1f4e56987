using System.Text.Json;
using DeepSeek.Contracts.Registry;
using DeepSeek.Contracts.Training;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Training.Runs;

/// <summary>Takes over what the trainer left: uploads the artifacts, then stores the result and tells of it in one transaction.</summary>
public sealed class RunResult(TrainingDb db, BlobClient blobs, TimeProvider clock)
{
    private static readonly (string Name, string MediaType)[] Files =
    [
        ("model.onnx", "application/x-onnx"), ("weights.safetensors", "application/x-safetensors"), ("model.json", "application/json"),
    ];

    public async Task StoreAsync(Run run, string folder, JobContext job, CancellationToken cancellationToken)
    {
        var output = Path.Combine(folder, "output");
        var description = JsonSerializer.Deserialize<ModelDescription>(
            await File.ReadAllBytesAsync(Path.Combine(output, "model.json"), cancellationToken), PlatformJson.Options)!;
        var artifacts = new List<Artifact>();
        // A trace is there only when the spec asked for one.
        foreach (var (name, mediaType) in Files.Concat(RunTrace.Files.Where(file => File.Exists(Path.Combine(output, file.Name)))))
        {
            job.Report(1, $"storing {name}");
            artifacts.Add((await blobs.UploadAsync(Path.Combine(output, name), mediaType, cancellationToken)).ToArtifact(name));
        }
        var now = clock.GetUtcNow();
        await db.EndAsync<Run>(job, SubjectState.Succeeded, now, row => row
            .SetProperty(r => r.Metrics, JsonSerializer.Serialize(description.Metrics, PlatformJson.Options))
            .SetProperty(r => r.Artifacts, JsonSerializer.Serialize(artifacts, PlatformJson.Options)), () =>
        {
            db.Publish(new ModelTrained
            {
                RunId = run.Id,
                ModelName = run.ModelName,
                Owner = run.Owner,
                DatasetId = run.DatasetId,
                DatasetManifestSha256 = run.DatasetManifestSha256,
                Artifacts = artifacts,
                Metrics = description.Metrics,
                Framework = $"deepseek.engine/{description.Framework.Engine} libtorch/{description.Framework.Libtorch}",
                At = now,
            });
            job.Complete(db, run.ResultUri);
        });
    }

    /// <summary>The parts of model.json that the platform reads.</summary>
    private sealed record ModelDescription(Dictionary<string, double> Metrics, FrameworkVersions Framework);

    private sealed record FrameworkVersions(string? Engine, string? Libtorch);
}
