using DeepSeek.Inference.Deployments;
using DeepSeek.Inference.Generation;
using DeepSeek.Inference.Predictions;
using DeepSeek.Inference.Rows;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Inference;

internal static class InferenceApi
{
    public static void MapInferenceApi(this WebApplication app)
    {
        var deployments = app.MapGroup("/api/v1/deployments").WithTags("Deployments").RequireAuthorization(Policies.Reader);
        deployments.MapGet("/", DeploymentHandlers.ListAsync).WithName("ListDeployments").WithSummary("The deployments, by name");
        deployments.MapGet("/{name}", DeploymentHandlers.GetAsync).WithName("GetDeployment").WithSummary("A deployment and what each replica holds of it");
        deployments.MapPut("/{name}", DeploymentHandlers.PutAsync).WithName("PutDeployment").RequireAuthorization(Policies.Operator)
            .WithSummary("Creates or changes a deployment; 200 when this replica serves it, 202 while it is being loaded");
        deployments.MapDelete("/{name}", DeploymentHandlers.DeleteAsync).WithName("DeleteDeployment").RequireAuthorization(Policies.Operator)
            .WithSummary("Ends a deployment; running requests finish");
        deployments.MapPost("/{name}/predict", PredictHandler.PredictAsync).WithName("Predict")
            .Accepts<PredictRequest>("application/json").Produces<PredictReply>()
            .WithSummary("Predictions for raw rows, typed by the model's own schema");
        deployments.MapPost("/{name}/generate", GenerateHandler.GenerateAsync).WithName("Generate")
            .Produces<GenerateReply>(StatusCodes.Status200OK, "application/json", "text/event-stream")
            .WithSummary("Text that a language model writes behind a prompt, token by token");

        var predictions = app.MapGroup("/api/v1/predictions").WithTags("Predictions").RequireAuthorization(Policies.Reader);
        predictions.MapGet("/{id}", PredictionHandlers.GetAsync).WithName("GetPrediction").WithSummary("Which version answered, when and what");
        predictions.MapGet("/{id}/lineage", PredictionHandlers.LineageAsync).WithName("GetPredictionLineage")
            .WithSummary("From a prediction back to the bytes its model learned from");
    }
}
