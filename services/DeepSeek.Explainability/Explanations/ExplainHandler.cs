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
        if (await TakeAsync(db, job, cancelled) == 0)
        {
            await AnswerAsync(db, job, cancelled);
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
            job.Complete(db, explanation.ResultUri);
        }

        await db.SaveChangesAsync(CancellationToken.None);
        await transaction.CommitAsync(CancellationToken.None);
    }

    private static Task<int> TakeAsync(ExplainabilityDb db, JobContext job, CancellationToken cancelled) =>
        db.Explanations.Where(row => row.Id == job.SubjectId && row.Attempt < job.Attempt && row.State != ExplanationState.Succeeded).ExecuteUpdateAsync(set => set
            .SetProperty(row => row.LeaseId, job.LeaseId)
            .SetProperty(row => row.Attempt, job.Attempt)
            .SetProperty(row => row.State, ExplanationState.Running)
            .SetProperty(row => row.Error, (string?)null)
            .SetProperty(row => row.EndedAt, (DateTimeOffset?)null), cancelled);

    /// <summary>Nothing to take: an earlier attempt stored the report, which is told again, or this attempt or a newer one has the row.</summary>
    private static async Task AnswerAsync(ExplainabilityDb db, JobContext job, CancellationToken cancelled)
    {
        var explanation = await db.Explanations.AsNoTracking().SingleOrDefaultAsync(row => row.Id == job.SubjectId && row.Attempt < job.Attempt, cancelled);
        if (explanation?.State != ExplanationState.Succeeded)
        {
            job.Drop();
            return;
        }

        job.Complete(db, explanation.ResultUri);
        await db.SaveChangesAsync(cancelled);
    }
}
