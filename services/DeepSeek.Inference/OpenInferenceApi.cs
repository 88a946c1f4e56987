using DeepSeek.Inference.OpenInference;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference;

/// <summary>
/// Open Inference Protocol v2 over HTTP with Triton's binary, repository, configuration and statistics extensions
/// (https://github.com/kserve/open-inference-protocol). A deployment is the protocol's model.
/// </summary>
internal static class OpenInferenceApi
{
    public static void MapOpenInferenceApi(this WebApplication app)
    {
        var v2 = app.MapGroup("/v2").WithTags("Open Inference Protocol").RequireAuthorization(Policies.Reader)
            .AddEndpointFilter<OpenInferenceErrors>();
        v2.MapGet("/", ServerHandlers.Metadata).WithName("ServerMetadata");
        v2.MapGet("/health/live", ServerHandlers.Live).WithName("ServerLive");
        v2.MapGet("/health/ready", ServerHandlers.Ready).WithName("ServerReady");

        v2.MapGet("/models", ModelHandlers.List).WithName("ListModels");
        v2.MapGet("/models/stats", ModelHandlers.AllStatistics).WithName("AllModelStatistics");
        foreach (var (model, suffix) in new[] { ("/models/{model}", ""), ("/models/{model}/versions/{version}", "OfVersion") })
        {
            v2.MapGet(model, ModelHandlers.MetadataAsync).WithName("ModelMetadata" + suffix);
            v2.MapGet(model + "/ready", ModelHandlers.ReadyAsync).WithName("ModelReady" + suffix);
            v2.MapGet(model + "/config", ModelHandlers.ConfigurationAsync).WithName("ModelConfiguration" + suffix);
            v2.MapGet(model + "/stats", ModelHandlers.StatisticsAsync).WithName("ModelStatistics" + suffix);
            v2.MapPost(model + "/infer", InferHandler.InferAsync).WithName("ModelInfer" + suffix);
        }

        v2.MapPost("/repository/index", RepositoryHandlers.IndexAsync).WithName("RepositoryIndex");
        v2.MapPost("/repository/models/{model}/load", RepositoryHandlers.LoadAsync).WithName("RepositoryLoad")
            .RequireAuthorization(Policies.Operator);
        v2.MapPost("/repository/models/{model}/unload", RepositoryHandlers.UnloadAsync).WithName("RepositoryUnload")
            .RequireAuthorization(Policies.Operator);
        v2.MapFallback("/{**path}", ServerHandlers.Unknown).ExcludeFromDescription();
    }
}
