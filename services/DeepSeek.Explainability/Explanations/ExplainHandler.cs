using System.Text.Json;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Explainability.Explanations;

/// <summary>Runs one explanation under a lease. A repeated run gives the same report, so there is nothing to resume: yielding starts over.</summary>
public sealed class ExplainHandler(IDbContextFactory<ExplainabilityDb> databases, ExplanationRunner runner, TimeProvider clock) : IJobHandler
{
    public async Task RunAsync(JobContext job, CancellationToken cancelled)
    {
        await using var db = await databases.CreateDbContextAsync(cancelled);
        if (await db.TakeAsync<Explanation>(job, cancelled) is not { } explanation)
        {
            return;
        }

        var spec = JsonSerializer.Deserialize<ExplanationSpec>(explanation.Spec, PlatformJson.Options)!;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancelled, job.YieldToken);
        try
        {
            var report = await runner.RunAsync(explanation, spec, (done, message) => job.Report(done, message), stop.Token);
            await db.EndAsync<Explanation>(job, SubjectState.Succeeded, clock.GetUtcNow(),
                row => row.SetProperty(r => r.Report, JsonSerializer.Serialize(report, PlatformJson.Options)),
                () => job.Complete(db, explanation.ResultUri));
        }
        catch (OperationCanceledException) when (job.YieldRequested && !cancelled.IsCancellationRequested)
        {
            await db.YieldAsync<Explanation>(job);
        }
        catch (InvalidDataException fault)
        {
            throw new JobRefusedException(fault.Message, fault);
        }
    }
}
