using System.Text.Json;
using DeepSeek.Contracts.Devices;
using DeepSeek.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;

namespace DeepSeek.Scheduling.Workers;

/// <summary>A worker as people and services read it.</summary>
/// <param name="Rating">Floating-point operations a second of its best rated device, by which jobs are placed; null where none was rated.</param>
/// <param name="Devices">What each of its machine's rated devices was measured to do.</param>
public sealed record WorkerView(string Id, string Kind, string Host, int Slots, int Busy, double? Rating, IReadOnlyList<RatedDevice> Devices)
{
    public static WorkerView Of(Worker worker) => new(worker.Id, worker.Kind, worker.Host, worker.Slots, worker.Busy, worker.Rating,
        worker.Devices is { } json ? JsonSerializer.Deserialize<RatedDevice[]>(json, PlatformJson.Options)! : []);
}

/// <summary>Who takes jobs at the moment, and on what hardware.</summary>
public static class WorkersApi
{
    public static void MapWorkersApi(this IEndpointRouteBuilder app) =>
        app.MapGet("/api/v1/jobs/workers", List).RequireAuthorization(Policies.Reader).WithTags("Jobs").WithName("ListWorkers").WithSummary("Living workers and what their devices were rated to do");

    private static async Task<Ok<IReadOnlyList<WorkerView>>> List(
        SchedulingDb db, TimeProvider clock, IOptions<SchedulingOptions> options, CancellationToken cancellationToken, string? kind = null)
    {
        var since = clock.GetUtcNow() - TimeSpan.FromSeconds(options.Value.WorkerTimeoutSeconds);
        var living = await db.Workers.AsNoTracking().Where(worker => worker.SeenAt > since && worker.Slots > 0 && (kind == null || worker.Kind == kind))
            .OrderBy(worker => worker.Id).ToListAsync(cancellationToken);
        return TypedResults.Ok<IReadOnlyList<WorkerView>>(living.ConvertAll(WorkerView.Of));
    }
}
