using System.Globalization;
using DeepSeek.Inference.Batching;
using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Protocol;
using DeepSeek.Inference.Serving;

namespace DeepSeek.Inference.OpenInference;

internal static class ModelHandlers
{
    private const string Platform = "onnxruntime_onnx";

    public static IResult List(DeploymentTable table) =>
        TypedResults.Json(new { models = table.Slots.Select(s => s.Name).ToArray() });

    public static async Task<IResult> MetadataAsync(string model, string? version, DeploymentTable table, CancellationToken cancellationToken) =>
        await WithAsync(model, version, table, loaded => new
        {
            name = model,
            versions = new[] { Text(loaded.Model.Version) },
            platform = Platform,
            inputs = loaded.Signature.Inputs.Select(Describe).ToArray(),
            outputs = loaded.Signature.Outputs.Select(Describe).ToArray(),
        }, cancellationToken);

    /// <summary>Asks, never waits: 503 while this replica does not have it.</summary>
    public static async Task<IResult> ReadyAsync(
        string model, string? version, DeploymentTable table, DeploymentStore store, CancellationToken cancellationToken)
    {
        var slot = table.Find(model);
        if (slot is null && !await store.IsEnabledAsync(model, cancellationToken))
        {
            throw InferenceException.NotFound($"There is no model {JsonText.Shorten(model)}.");
        }

        var ready = slot?.Current is { } current && (version is null || version == Text(current.Model.Version));
        return TypedResults.Json(
            new { name = model, ready }, statusCode: ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
    }

    public static async Task<IResult> ConfigurationAsync(string model, string? version, DeploymentTable table, CancellationToken cancellationToken) =>
        await WithAsync(model, version, table, loaded =>
        {
            var limits = loaded.EffectiveLimits;
            // Triton leaves the batch axis out of the dimensions of a model that batches.
            var skip = limits.MaxBatch > 0 ? 1 : 0;
            return new
            {
                name = model,
                platform = Platform,
                backend = "onnxruntime",
                version_policy = new { specific = new { versions = new[] { loaded.Model.Version } } },
                max_batch_size = limits.MaxBatch,
                input = loaded.Signature.Inputs.Select(i => Configure(i, skip)).ToArray(),
                output = loaded.Signature.Outputs.Select(o => Configure(o, skip)).ToArray(),
                dynamic_batching = new
                {
                    max_queue_delay_microseconds = (long)limits.MaxDelay.TotalMicroseconds,
                    default_queue_policy = new { timeout_action = "REJECT", max_queue_size = limits.MaxQueue },
                },
                instance_group = new[] { new { name = model, kind = "KIND_CPU", count = 1 } },
            };
        }, cancellationToken);

    public static IResult AllStatistics(DeploymentTable table) => TypedResults.Json(
        new { model_stats = table.Slots.Select(s => s.Current).OfType<LoadedVersion>().Select(Statistics).ToArray() });

    public static async Task<IResult> StatisticsAsync(string model, string? version, DeploymentTable table, CancellationToken cancellationToken) =>
        await WithAsync(model, version, table, loaded => new { model_stats = new[] { Statistics(loaded) } }, cancellationToken);

    private static async Task<IResult> WithAsync<T>(
        string model, string? version, DeploymentTable table, Func<LoadedVersion, T> tell, CancellationToken cancellationToken)
    {
        var loaded = await table.AcquireAsync(model, version, cancellationToken);
        try
        {
            return TypedResults.Json(tell(loaded));
        }
        finally
        {
            loaded.Release();
        }
    }

    private static object Describe(TensorSpec spec) => new { name = spec.Name, datatype = spec.DataType.Name(), shape = spec.Shape };

    private static object Configure(TensorSpec spec, int skip) =>
        new { name = spec.Name, data_type = spec.DataType.ConfigurationName(), dims = spec.Shape[skip..] };

    private static object Statistics(LoadedVersion loaded) => loaded.Statistics.Read((totals, batches) => (object)new
    {
        name = loaded.Deployment,
        version = Text(loaded.Model.Version),
        last_inference = totals.LastInference,
        inference_count = totals.InferenceCount,
        execution_count = totals.ExecutionCount,
        inference_stats = new
        {
            success = Stat(totals.Success),
            fail = Stat(totals.Fail),
            queue = Stat(totals.Queue),
            compute_input = Stat(totals.ComputeInput),
            compute_infer = Stat(totals.ComputeInfer),
            compute_output = Stat(totals.ComputeOutput),
        },
        batch_stats = batches.Select(b => new
        {
            batch_size = b.Key,
            compute_input = Stat(b.Value.ComputeInput),
            compute_infer = Stat(b.Value.ComputeInfer),
            compute_output = Stat(b.Value.ComputeOutput),
        }).ToArray(),
    });

    private static object Stat(ModelStatistics.Duration duration) => new { count = duration.Count, ns = duration.Ns };

    private static string Text(int version) => version.ToString(CultureInfo.InvariantCulture);
}
