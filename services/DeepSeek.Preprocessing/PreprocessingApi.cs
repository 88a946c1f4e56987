using DeepSeek.Preprocessing.Datasets;
using DeepSeek.ServiceDefaults;

namespace DeepSeek.Preprocessing;

internal static class PreprocessingApi
{
    public static void MapPreprocessingApi(this WebApplication app)
    {
        var datasets = app.MapGroup("/api/v1/datasets").RequireAuthorization(Policies.Reader).WithTags("Datasets");
        datasets.MapPost("/", DatasetHandlers.PostAsync).WithName("UploadDataset").WithSummary("Upload data: part 'spec' (JSON), then part(s) 'file'")
            .RequireAuthorization(Policies.Operator).Accepts<DatasetForm>("multipart/form-data").ProducesProblem(StatusCodes.Status400BadRequest);
        datasets.MapGet("/", DatasetHandlers.ListAsync).WithName("ListDatasets").WithSummary("Datasets, newest first");
        datasets.MapGet("/{id:guid}", DatasetHandlers.GetAsync).WithName("GetDataset").WithSummary("One dataset, with its problem or its summary");
        datasets.MapGet("/{id:guid}/profile", DatasetHandlers.ProfileAsync).WithName("GetDatasetProfile").WithSummary("Statistics per column, leakage, warnings");
        datasets.MapGet("/{id:guid}/manifest", DatasetHandlers.ManifestAsync).WithName("GetDatasetManifest").WithSummary("The manifest, whose SHA-256 is the dataset's hash");
        datasets.MapDelete("/{id:guid}", DatasetHandlers.DeleteAsync).WithName("DeleteDataset").WithSummary("Delete a dataset").RequireAuthorization(Policies.Operator);
    }
}

/// <summary>The form of an upload, for the OpenAPI document; the parts are read as streams.</summary>
internal sealed record DatasetForm(DatasetSpec Spec, IFormFile File);
