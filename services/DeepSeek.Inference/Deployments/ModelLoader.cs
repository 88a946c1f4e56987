using DeepSeek.Inference.Serving;
using DeepSeek.Onnx;
using DeepSeek.ServiceDefaults;
using Microsoft.Extensions.Options;

namespace DeepSeek.Inference.Deployments;

/// <summary>Brings a registered version into memory: fetched by its hash, validated, loaded, warmed up.</summary>
internal sealed class ModelLoader(BlobClient blobs, IOptions<InferenceOptions> options, TimeProvider time, ILogger<ModelLoader> logger)
{
    /// <exception cref="InvalidModelException">The file can never be served.</exception>
    public async Task<LoadedVersion> LoadAsync(string deployment, Target target, CancellationToken cancellationToken)
    {
        var path = await blobs.FetchAsync(target.Model.Sha256, cancellationToken);
        // Parsing, loading and warming up are work of many milliseconds: on a thread of its own, not on one that serves.
        return await Task.Factory.StartNew(
            () => Load(deployment, target, path), cancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private LoadedVersion Load(string deployment, Target target, string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            OnnxModels.Validate(file);
        }
        catch (InvalidOnnxException fault)
        {
            throw new InvalidModelException(fault.Message, fault);
        }

        var session = OnnxSession.Load(path, options.Value.IntraOpThreads, logger);
        try
        {
            var version = new LoadedVersion(deployment, target.Model, session, target.Limits, time);
            version.WarmUp();
            return version;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }
}
