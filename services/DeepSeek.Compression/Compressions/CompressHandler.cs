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
        if (await db.TakeAsync<CompressionRecord>(job, cancelled) is not { } compression)
        {
            return;
        }
        var spec = JsonSerializer.Deserialize<CompressionSpec>(compression.Spec, PlatformJson.Options)!;
        using var activity = CompressionTelemetry.Source.StartActivity("compress");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancelled, job.YieldToken);
        try
        {
            var outcome = await runner.RunAsync(compression, spec, (done, message) => job.Report(done, message, message), stop.Token);
            await StoreAsync(db, job, compression, outcome);
        }
        catch (OperationCanceledException) when (job.YieldRequested && !cancelled.IsCancellationRequested)
        {
            await db.YieldAsync<CompressionRecord>(job);
        }
        catch (Exception fault) when (fault is UnsupportedModelException or InvalidOnnxException or InvalidDataException or FormatException or BlobNotFoundException)
        {
            throw new JobRefusedException(fault.Message, fault);
        }
    }

    private async Task StoreAsync(CompressionDb db, JobContext job, CompressionRecord compression, CompressionOutcome outcome)
    {
        var error = outcome.Report.Budget.Met ? null : OverBudget(outcome.Report);
        var stored = await db.EndAsync<CompressionRecord>(job, error is null ? SubjectState.Succeeded : SubjectState.Refused, clock.GetUtcNow(), row => row
            .SetProperty(r => r.Report, JsonSerializer.Serialize(outcome.Report, PlatformJson.Options))
            .SetProperty(r => r.Error, error), Tell);
        if (stored)
            Count(outcome.Report);

        void Tell()
        {
            if (error is null)
            {
                db.Publish(Message(compression, outcome));
                job.Complete(db, compression.ResultUri);
                return;
            }
            db.Audit(compression.Owner, "compression.refused", $"compression/{compression.Id}", new { outcome.Report.Accuracy, outcome.Report.Budget });
            job.Fail(db, error, retryable: false);
        }
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
