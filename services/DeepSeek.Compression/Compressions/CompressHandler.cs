using System.Globalization;
using System.Text.Json;
using DeepSeek.Compression.Graphs;
using DeepSeek.Contracts.Compression;
using DeepSeek.Onnx;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Compression.Compressions;

/// <summary>Runs one compression under a lease. A repeated run gives the same candidate, so there is nothing to resume: yielding starts over.</summary>
public sealed class CompressHandler(IDbContextFactory<CompressionDb> databases, CompressionRunner runner, TimeProvider clock) : IJobHandler
{
    public async Task RunAsync(JobContext job, CancellationToken cancelled)
    {
        await using var db = await databases.CreateDbContextAsync(cancelled);
        if (await TakeAsync(db, job, cancelled) == 0)
        {
            await AnswerAsync(db, job, cancelled);
            return;
        }
        var compression = await db.Compressions.AsNoTracking().SingleAsync(row => row.Id == job.SubjectId, cancelled);
        var spec = JsonSerializer.Deserialize<CompressionSpec>(compression.Spec, PlatformJson.Options)!;
        using var activity = CompressionTelemetry.Source.StartActivity("compress");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancelled, job.YieldToken);
        CompressionOutcome? outcome = null;
        try
        {
            outcome = await runner.RunAsync(compression, spec, (done, message) => job.Report(done, message, message), stop.Token);
        }
        catch (OperationCanceledException) when (job.YieldRequested && !cancelled.IsCancellationRequested)
        {
            // Ends below, as a yield.
        }
        catch (Exception fault) when (fault is UnsupportedModelException or InvalidOnnxException or InvalidDataException or FormatException or BlobNotFoundException)
        {
            throw new JobRefusedException(fault.Message, fault);
        }
        await StoreAsync(db, job, compression, outcome);
    }

    private static Task<int> TakeAsync(CompressionDb db, JobContext job, CancellationToken cancelled) =>
        db.Compressions.Where(row => row.Id == job.SubjectId && row.Attempt < job.Attempt && row.State != CompressionState.Succeeded && row.State != CompressionState.Refused).ExecuteUpdateAsync(set => set
            .SetProperty(row => row.LeaseId, job.LeaseId)
            .SetProperty(row => row.Attempt, job.Attempt)
            .SetProperty(row => row.State, CompressionState.Running)
            .SetProperty(row => row.Error, (string?)null)
            .SetProperty(row => row.EndedAt, (DateTimeOffset?)null), cancelled);

    /// <summary>Nothing to take: an earlier attempt stored the result, which is told again, or this attempt or a newer one has the row.</summary>
    private static async Task AnswerAsync(CompressionDb db, JobContext job, CancellationToken cancelled)
    {
        var compression = await db.Compressions.AsNoTracking().SingleOrDefaultAsync(row => row.Id == job.SubjectId && row.Attempt < job.Attempt, cancelled);
        switch (compression?.State)
        {
            case CompressionState.Succeeded:
                job.Complete(db, compression.ResultUri);
                break;
            case CompressionState.Refused:
                job.Fail(db, compression.Error!, retryable: false);
                break;
            default:
                job.Drop();
                return;
        }
        await db.SaveChangesAsync(cancelled);
    }

    private async Task StoreAsync(CompressionDb db, JobContext job, CompressionRecord compression, CompressionOutcome? outcome)
    {
        await using var transaction = await db.Database.BeginTransactionAsync(CancellationToken.None);
        var held = db.Compressions.Where(row => row.Id == job.SubjectId && row.LeaseId == job.LeaseId && row.EndedAt == null);
        var error = outcome is { Report.Budget.Met: false } ? OverBudget(outcome.Report) : null;
        var stored = outcome is null
            ? await held.ExecuteUpdateAsync(set => set.SetProperty(row => row.State, CompressionState.Queued), CancellationToken.None)
            : await held.ExecuteUpdateAsync(set => set
                .SetProperty(row => row.State, error is null ? CompressionState.Succeeded : CompressionState.Refused)
                .SetProperty(row => row.Report, JsonSerializer.Serialize(outcome.Report, PlatformJson.Options))
                .SetProperty(row => row.Error, error)
                .SetProperty(row => row.EndedAt, clock.GetUtcNow()), CancellationToken.None);
        if (stored == 0)
        {
            job.Drop();
            return;
        }

        if (outcome is null)
        {
            job.Yield(db);
        }
        else if (error is not null)
        {
            db.Audit(compression.Owner, "compression.refused", $"compression/{compression.Id}", new { outcome.Report.Accuracy, outcome.Report.Budget });
            job.Fail(db, error, retryable: false);
        }
        else
        {
            db.Publish(Message(compression, outcome));
            job.Complete(db, compression.ResultUri);
        }
        await db.SaveChangesAsync(CancellationToken.None);
        await transaction.CommitAsync(CancellationToken.None);
        if (outcome is not null)
            Count(outcome.Report);
    }

    private ModelCompressed Message(CompressionRecord compression, CompressionOutcome outcome)
    {
        var report = outcome.Report;
        return new ModelCompressed
        {
            CompressionId = compression.Id,
            ModelName = compression.ModelName,
            ParentVersion = compression.ParentVersion,
            Owner = compression.Owner,
            Method = JsonNamingPolicy.CamelCase.ConvertName(report.Method.ToString()),
            Artifacts = outcome.Artifacts,
            Metrics = new Dictionary<string, double>
            {
                [report.Accuracy.Metric] = report.Accuracy.Int8,
                [report.Accuracy.Metric + "Drop"] = report.Accuracy.Drop,
                ["agreement"] = report.Agreement,
                ["bytesFp32"] = report.Bytes.Fp32,
                ["bytesInt8"] = report.Bytes.Int8,
                ["p50MsFp32"] = report.LatencyMs.Fp32.P50,
                ["p50MsInt8"] = report.LatencyMs.Int8.P50,
                ["p95MsFp32"] = report.LatencyMs.Fp32.P95,
                ["p95MsInt8"] = report.LatencyMs.Int8.P95,
            },
            ReportSha256 = outcome.ReportSha256,
            At = clock.GetUtcNow(),
        };
    }

    private static string OverBudget(CompressionReport report) => string.Create(CultureInfo.InvariantCulture,
        $"The candidate loses {report.Accuracy.Drop:0.####} of {report.Accuracy.Metric} ({report.Accuracy.Fp32:0.####} → {report.Accuracy.Int8:0.####} on {report.Accuracy.Rows} test rows); the budget allows {report.Budget.MaxDrop:0.####}. Nothing was registered. Try the other calibration method, keepFirst or keepLast, or a larger budget.");

    private static void Count(CompressionReport report)
    {
        CompressionTelemetry.Candidates.Add(1, new KeyValuePair<string, object?>("outcome", report.Budget.Met ? "succeeded" : "refused"));
        if (report.Budget.Met)
            CompressionTelemetry.SavedBytes.Add(Math.Max(0, report.Bytes.Fp32 - report.Bytes.Int8));
    }
}
