using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;

namespace DeepSeek.Scheduling.Leases;

/// <summary>The worker's half of the job protocol, for the role service alone.</summary>
public static class LeaseApi
{
    private const int MaxHeartbeatLines = 10_000;

    public static void MapLeaseApi(this IEndpointRouteBuilder app)
    {
        var leases = app.MapGroup("/api/v1/jobs/{id:guid}/lease").RequireAuthorization(Policies.Service).WithTags("Leases");
        leases.MapPost("/", Acquire);
        leases.MapPut("/{leaseId:guid}", Beat);
        leases.MapPost("/{leaseId:guid}/end", End);
    }

    private static async Task<Ok> Acquire(
        Guid id, AcquireLease body, SchedulingDb db, IOptions<SchedulingOptions> options, SchedulingMetrics metrics, TimeProvider clock,
        CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var change = await db.ChangeInTransactionAsync(
            id, job => (First: job.StartedAt is null, Accepted: job.Accept(body.LeaseId, body.WorkerId.Storable(), now, options.Value.Lease)), cancellationToken)
            ?? throw Problems.NotFound("job", id);
        if (!change.Outcome.Accepted)
        {
            throw Problems.Conflict($"Lease {body.LeaseId} of job {id} is not open to worker '{body.WorkerId}': drop it.");
        }
        if (change.Outcome.First)
        {
            metrics.Admitted(change.Job.Kind, now - change.Job.CreatedAt);
        }
        return TypedResults.Ok();
    }

    private static async Task<Ok<HeartbeatReply>> Beat(
        Guid id, Guid leaseId, Heartbeat body, SchedulingDb db, IOptions<SchedulingOptions> options, TimeProvider clock,
        CancellationToken cancellationToken)
    {
        if (body.Log.Count > MaxHeartbeatLines)
        {
            throw Problems.Invalid("log", $"has {body.Log.Count} lines; send at most {MaxHeartbeatLines} per heartbeat.");
        }
        var beat = body with { Message = body.Message.Storable(), Log = [.. body.Log.Select(line => line.Storable())] };
        var change = await db.ChangeInTransactionAsync(
            id, job => job.Beat(leaseId, beat, clock.GetUtcNow(), options.Value.Lease, options.Value.MaxLogLines), cancellationToken);
        return TypedResults.Ok(new HeartbeatReply { Directive = change?.Outcome ?? JobDirective.Lost });
    }

    private static async Task<NoContent> End(
        Guid id, Guid leaseId, EndLease body, SchedulingDb db, JobReports reports, CancellationToken cancellationToken)
    {
        await db.InTransactionAsync(async () =>
        {
            await reports.EndAsync(db, id, leaseId, body, cancellationToken);
            return true;
        }, cancellationToken);
        return TypedResults.NoContent();
    }
}
