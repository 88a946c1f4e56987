using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Identity;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>Jobs as people see and steer them.</summary>
public static class JobsApi
{
    public static void MapJobsApi(this IEndpointRouteBuilder app)
    {
        var jobs = app.MapGroup("/api/v1/jobs").RequireAuthorization(Policies.Reader).WithTags("Jobs");
        jobs.MapGet("/", List);
        var one = jobs.MapGroup("/{id:guid}").AwaitsTheJob();
        one.MapGet("", Get);
        one.MapGet("/attempts", Attempts);
        one.MapGet("/logs", Logs);
        one.MapGet("/events", JobEventStream.WriteAsync);
        one.MapPost("/cancel", Cancel).RequireAuthorization(Policies.Operator);
        one.MapPost("/retry", Retry).RequireAuthorization(Policies.Operator);
        one.MapPatch("", Prioritise).RequireAuthorization(Policies.Operator);
    }

    private static async Task<Ok<Page<JobView>>> List(
        [AsParameters] PageRequest page, SchedulingDb db, WaitingReader waiting, CancellationToken cancellationToken,
        string? kind = null, string? state = null, Guid? subject = null)
    {
        var query = db.Jobs.AsNoTracking();
        query = kind is null ? query : query.Where(job => job.Kind == kind);
        query = subject is null ? query : query.Where(job => job.SubjectId == subject);
        if (state is not null)
        {
            var wanted = Enum.TryParse<JobState>(state, ignoreCase: true, out var parsed) && Enum.IsDefined(parsed) && !char.IsDigit(state[0])
                ? parsed
                : throw Problems.Invalid("state", $"'{state}' is none of {string.Join(", ", Enum.GetValues<JobState>().Select(value => value.Wire()))}.");
            query = query.Where(job => job.State == wanted);
        }
        var found = await query.ToPageAsync(job => job.Sequence, page, job => job, cancellationToken);
        var words = await waiting.ReadAsync(found.Items, cancellationToken);
        return TypedResults.Ok(new Page<JobView>([.. found.Items.Select(job => JobView.Of(job, words.GetValueOrDefault(job.Id)))], found.Next));
    }

    private static async Task<Ok<JobView>> Get(
        Guid id, HttpContext http, SchedulingDb db, WaitingReader waiting, CancellationToken cancellationToken)
    {
        var job = await FindAsync(db, id, cancellationToken);
        return await ViewAsync(job, http, waiting, cancellationToken);
    }

    private static async Task<Ok<IReadOnlyList<AttemptView>>> Attempts(Guid id, SchedulingDb db, CancellationToken cancellationToken)
    {
        await FindAsync(db, id, cancellationToken);
        var attempts = await db.Attempts.AsNoTracking().Where(attempt => attempt.JobId == id).OrderBy(attempt => attempt.Dispatch)
            .ToListAsync(cancellationToken);
        return TypedResults.Ok<IReadOnlyList<AttemptView>>(attempts.ConvertAll(AttemptView.Of));
    }

    private static async Task<Ok<Page<LogLine>>> Logs(
        Guid id, [AsParameters] PageRequest page, SchedulingDb db, CancellationToken cancellationToken)
    {
        await FindAsync(db, id, cancellationToken);
        var lines = db.Events.AsNoTracking().Where(entry => entry.JobId == id && entry.Type == JobEventType.Log);
        return TypedResults.Ok(await lines.ToPageAsync(
            entry => entry.Seq, page,
            entry => new LogLine(entry.Seq, entry.At, JsonSerializer.Deserialize<LogData>(entry.Data, JsonSerializerOptions.Web)!.Line),
            cancellationToken, descending: false));
    }

    private static Task<Ok<JobView>> Cancel(
        Guid id, HttpContext http, SchedulingDb db, WaitingReader waiting, TimeProvider clock, CancellationToken cancellationToken) =>
        SteerAsync(id, "job.cancel", null, http, db, waiting, (job, actor) =>
        {
            if (job.Ended && job.State != JobState.Cancelled)
            {
                throw Problems.Conflict($"Job {id} has {job.State.Wire()} already; there is nothing to cancel.");
            }
            return job.Cancel(actor, clock.GetUtcNow());
        }, cancellationToken);

    private static Task<Ok<JobView>> Retry(
        Guid id, HttpContext http, SchedulingDb db, WaitingReader waiting, TimeProvider clock, CancellationToken cancellationToken) =>
        SteerAsync(id, "job.retry", null, http, db, waiting, (job, actor) => job.Retry(actor, clock.GetUtcNow())
            ? true
            : throw Problems.Conflict($"Job {id} is {job.State.Wire()}; only a failed job can be retried."), cancellationToken);

    private static Task<Ok<JobView>> Prioritise(
        Guid id, PriorityChange body, HttpContext http, SchedulingDb db, WaitingReader waiting, TimeProvider clock,
        CancellationToken cancellationToken)
    {
        if (body.Priority is < 0 or > 100)
        {
            throw Problems.Invalid("priority", "must lie between 0 and 100.");
        }
        return SteerAsync(id, "job.priority", body, http, db, waiting, (job, actor) =>
        {
            ETags.Require(http, job.Revision);
            return !job.Ended
                ? job.Prioritise(body.Priority, actor, clock.GetUtcNow())
                : throw Problems.Conflict($"Job {id} has ended; its priority means nothing any more.");
        }, cancellationToken);
    }

    private static async Task<Ok<JobView>> SteerAsync(
        Guid id, string action, object? details, HttpContext http, SchedulingDb db, WaitingReader waiting, Func<Job, string, bool> change,
        CancellationToken cancellationToken)
    {
        var actor = http.User.Actor();
        var changed = await db.ChangeInTransactionAsync(id, job =>
        {
            if (change(job, actor))
            {
                db.Audit(actor, action, $"jobs/{id}", details);
            }
            return job;
        }, cancellationToken) ?? throw Problems.NotFound("job", id);
        return await ViewAsync(changed.Job, http, waiting, cancellationToken);
    }

    private static async Task<Ok<JobView>> ViewAsync(Job job, HttpContext http, WaitingReader waiting, CancellationToken cancellationToken)
    {
        var words = await waiting.ReadAsync([job], cancellationToken);
        ETags.Set(http, job.Revision);
        return TypedResults.Ok(JobView.Of(job, words.GetValueOrDefault(job.Id)));
    }

    internal static async Task<Job> FindAsync(SchedulingDb db, Guid id, CancellationToken cancellationToken) =>
        await db.Jobs.AsNoTracking().SingleOrDefaultAsync(job => job.Id == id, cancellationToken) ?? throw Problems.NotFound("job", id);
}

public sealed record PriorityChange
{
    /// <summary>0 to 100.</summary>
    public required int Priority { get; init; }
}
