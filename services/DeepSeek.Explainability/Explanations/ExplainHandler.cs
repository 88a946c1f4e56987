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
        if (await db.Explanations.Where(row => row.Id == job.SubjectId && row.Attempt < job.Attempt && row.EndedAt == null)
                .ExecuteUpdateAsync(set => set
                    .SetProperty(row => row.LeaseId, job.LeaseId)
                    .SetProperty(row => row.Attempt, job.Attempt)
                    .SetProperty(row => row.State, ExplanationState.Running), cancelled) == 0)
        {
            job.Drop();
            return;
        }

        var explanation = await db.Explanations.SingleAsync(row => row.Id == job.SubjectId, cancelled);
        var spec = JsonSerializer.Deserialize<ExplanationSpec>(explanation.Spec, PlatformJson.Options)!;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancelled, job.YieldToken);
        string? report = null;
        try
        {
            report = JsonSerializer.Serialize(await runner.RunAsync(explanation, spec, (done, message) => job.Report(done, message), stop.Token), PlatformJson.Options);
        }
        catch (OperationCanceledException) when (job.YieldRequested && !cancelled.IsCancellationRequested)
        {
            // Ends below, as a yield.
        }
        catch (InvalidDataException fault)
        {
            throw new JobRefusedException(fault.Message, fault);
        }

        await using var transaction = await db.Database.BeginTransactionAsync(CancellationToken.None);
        var held = db.Explanations.Where(row => row.Id == job.SubjectId && row.LeaseId == job.LeaseId && row.EndedAt == null);
        var stored = report is null
            ? await held.ExecuteUpdateAsync(set => set.SetProperty(row => row.State, ExplanationState.Queued), CancellationToken.None)
            : await held.ExecuteUpdateAsync(set => set
                .SetProperty(row => row.Report, report)
                .SetProperty(row => row.State, ExplanationState.Succeeded)
                .SetProperty(row => row.EndedAt, clock.GetUtcNow()), CancellationToken.None);
        if (stored == 0)
        {
            job.Drop();
            return;
        }

        if (report is null)
        {
            job.Yield(db);
        }
        else
        {
            job.Complete(db, $"/api/v1/explanations/{job.SubjectId}");
        }

        await db.SaveChangesAsync(CancellationToken.None);
        await transaction.CommitAsync(CancellationToken.None);
    }
}
