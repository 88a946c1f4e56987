using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

public static class RunsApi
{
    public static void MapRunsApi(this IEndpointRouteBuilder app)
    {
        var runs = app.MapGroup("/api/v1/runs").RequireAuthorization(Policies.Reader).WithTags("Runs");
        runs.MapPost("/", RunSubmission.PostAsync).RequireAuthorization(Policies.Operator)
            .Accepts<Contracts.Training.RunSpec>("application/json").WithName("CreateRun").WithSummary("Train a model on a prepared dataset");
        runs.MapGet("/", List).WithName("ListRuns").WithSummary("Runs, newest first");
        runs.MapGet("/{id:guid}", Get).WithName("GetRun").WithSummary("One run with its spec and, once done, its metrics and artifacts");
        runs.MapGet("/{id:guid}/metrics", Metrics).WithName("ListRunMetrics").WithSummary("Series of losses and validation metrics, oldest first");
        runs.MapGet("/{id:guid}/trace", RunTrace.GetAsync).WithName("GetRunTrace").WithSummary("Where a traced run's time and memory went; format=chrome for a trace viewer");
    }

    private static async Task<Ok<Page<RunView>>> List(
        [AsParameters] PageRequest page, TrainingDb db, CancellationToken cancellationToken, string? model = null, Guid? dataset = null)
    {
        var query = db.Runs.AsNoTracking();
        query = model is null ? query : query.Where(run => run.ModelName == model);
        query = dataset is null ? query : query.Where(run => run.DatasetId == dataset);
        return TypedResults.Ok(await query.ToPageAsync(run => run.Sequence, page, RunView.Of, cancellationToken));
    }

    private static async Task<Ok<RunView>> Get(Guid id, TrainingDb db, CancellationToken cancellationToken) =>
        TypedResults.Ok(RunView.Of(await FindAsync(id, db, cancellationToken)));

    private static async Task<Ok<Page<MetricView>>> Metrics(
        Guid id, [AsParameters] PageRequest page, TrainingDb db, CancellationToken cancellationToken, string? name = null)
    {
        await FindAsync(id, db, cancellationToken);
        var query = db.Metrics.AsNoTracking().Where(metric => metric.RunId == id);
        query = name is null ? query : query.Where(metric => metric.Name == name);
        return TypedResults.Ok(await query.ToPageAsync(metric => metric.Sequence, page, MetricView.Of, cancellationToken, descending: false));
    }

    private static async Task<Run> FindAsync(Guid id, TrainingDb db, CancellationToken cancellationToken) =>
        await db.Runs.AsNoTracking().SingleOrDefaultAsync(run => run.Id == id, cancellationToken) ?? throw Problems.NotFound("run", id);
}
