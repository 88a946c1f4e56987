using System.Net.Mime;
using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Data;
using DeepSeek.Explainability.Explanations;
using DeepSeek.Explainability.Reports;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Explainability;

public static class ExplainabilityApi
{
    public static IEndpointRouteBuilder MapExplainabilityApi(this IEndpointRouteBuilder app)
    {
        var explanations = app.MapGroup("/api/v1/explanations").WithTags("Explanations");
        explanations.MapPost("/", Create).RequireAuthorization(Policies.Operator);
        explanations.MapGet("/", List).RequireAuthorization(Policies.Reader);
        explanations.MapGet("/{id:guid}", Get).RequireAuthorization(Policies.Reader);
        explanations.MapGet("/{id:guid}/report", GetReport).RequireAuthorization(Policies.Reader);
        return app;
    }

    private static async Task<Accepted<ExplanationView>> Create(
        ExplanationSpec spec, HttpContext http, ExplainabilityDb db, ModelDirectory models, BlobClient blobs, TimeProvider clock, CancellationToken cancellationToken)
    {
        Refuse(ExplanationRules.Check(spec));
        // The key knows a repeat by what was sent; stored is what may be.
        var key = http.RequestKey(JobKinds.Explain, JsonSerializer.Serialize(spec, PlatformJson.Options));
        if (await db.FindRepeatedAsync<Explanation>(key, cancellationToken) is { } earlier)
        {
            return Accepted(earlier);
        }

        var target = await models.ResolveAsync(spec, cancellationToken);
        var dataset = DatasetManifest.Parse(await blobs.ReadAsync(target.DatasetManifestSha256, cancellationToken));
        Refuse(ExplanationRules.Check(spec, dataset));
        try
        {
            spec = ExplanationRules.Masked(spec, dataset);
        }
        catch (InvalidDataException fault)
        {
            throw Problems.Unprocessable(fault.Message);
        }

        var explanation = new Explanation
        {
            Id = Guid.CreateVersion7(),
            JobId = Guid.CreateVersion7(),
            RequestKey = key,
            Owner = http.User.Actor(),
            ModelName = target.ModelName,
            ModelVersion = target.Version,
            ModelSha256 = target.ModelSha256,
            DatasetManifestSha256 = target.DatasetManifestSha256,
            Spec = JsonSerializer.Serialize(spec, PlatformJson.Options),
            CreatedAt = clock.GetUtcNow(),
        };
        db.Audit(explanation.Owner, "explanation.requested", $"explanation/{explanation.Id}", new { target.ModelName, target.Version });
        return Accepted(await db.SubmitAsync(
            explanation, JobKinds.Explain, $"explain {target.ModelName} version {target.Version}", spec.Priority, cancellationToken));
    }

    private static Accepted<ExplanationView> Accepted(Explanation explanation) =>
        TypedResults.Accepted(explanation.ResultUri, ExplanationView.Of(explanation));

    private static Task<Page<ExplanationView>> List(ExplainabilityDb db, [AsParameters] PageRequest page, CancellationToken cancellationToken) =>
        db.Explanations.AsNoTracking().ToPageAsync(row => row.Id, page, ExplanationView.Row, row => row.Id, row => row, cancellationToken);

    private static async Task<ExplanationView> Get(Guid id, ExplainabilityDb db, CancellationToken cancellationToken) =>
        ExplanationView.Of(await FindAsync(db, id, cancellationToken), withReport: true);

    private static async Task<ContentHttpResult> GetReport(Guid id, ExplainabilityDb db, CancellationToken cancellationToken)
    {
        var explanation = await FindAsync(db, id, cancellationToken);
        var report = explanation.Report ?? throw Problems.Conflict(
            $"Explanation {id} is {explanation.State.ToString().ToLowerInvariant()} and has no report{(explanation.Error is null ? ": wait for job " + explanation.JobId + "." : ": " + explanation.Error)}");
        return TypedResults.Text(HtmlReport.Render(JsonSerializer.Deserialize<ExplanationReport>(report, PlatformJson.Options)!), MediaTypeNames.Text.Html);
    }

    private static async Task<Explanation> FindAsync(ExplainabilityDb db, Guid id, CancellationToken cancellationToken) =>
        await db.Explanations.AsNoTracking().SingleOrDefaultAsync(row => row.Id == id, cancellationToken) ?? throw Problems.NotFound("explanation", id);

    private static void Refuse(Dictionary<string, string[]> errors)
    {
        if (errors.Count > 0)
        {
            throw Problems.Invalid(errors);
        }
    }
}
