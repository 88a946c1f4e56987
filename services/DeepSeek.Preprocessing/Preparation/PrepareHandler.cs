using DeepSeek.Contracts.Datasets;
using DeepSeek.Data;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.DuckDb;
using DeepSeek.Preprocessing.Images;
using DeepSeek.Preprocessing.Privacy;
using DeepSeek.Preprocessing.Uploads;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using Microsoft.Extensions.Options;
using System.Text;
using System.Text.Json;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>
/// Runs one attempt at a dataset. Nothing of an attempt outlives it but blobs, which the registry collects when no manifest names
/// them; so a killed attempt is simply run again from the spool.
/// </summary>
internal sealed partial class PrepareHandler(
    PreprocessingDb db, Spool spool, MaskingKey key, BlobClient blobs, IOptions<PreprocessingOptions> options, TimeProvider clock, ILogger<PrepareHandler> logger) : IJobHandler
{
    public async Task RunAsync(JobContext job, CancellationToken cancelled)
    {
        if (await db.TakeAsync<Dataset>(job, cancelled, row => row.SetProperty(d => d.ProblemField, (string?)null).Changed(clock)) is not { } dataset)
        {
            return;
        }
        using var activity = PreprocessingTelemetry.Source.StartActivity("prepare");
        activity?.SetTag("deepseek.dataset.id", dataset.Id);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancelled, job.YieldToken);
        var scratch = spool.CreateScratch(dataset.Id, job.Attempt);
        try
        {
            var prepared = await PrepareAsync(job, dataset, scratch, stop.Token);
            await CompleteAsync(job, dataset, prepared);
        }
        catch (DataFault fault)
        {
            await RefuseAsync(job, dataset.Id, fault);
        }
        catch (DuckDbException fault)
        {
            // DuckDB's words may quote a cell; the kind of error before the first colon does not.
            LogReader(dataset.Id, fault.Message.Split(':')[0]);
            throw new InvalidOperationException("The table reader failed on the spooled file; the service's log has the kind of error.");
        }
        catch (OperationCanceledException) when (job.YieldRequested && !cancelled.IsCancellationRequested)
        {
            await db.YieldAsync<Dataset>(job, row => row.Changed(clock));
        }
        finally
        {
            Spool.Delete(scratch);
        }
    }

    private async Task<PreparedDataset> PrepareAsync(JobContext job, Dataset dataset, string scratch, CancellationToken cancellationToken)
    {
        if (!spool.Has(dataset.Id))
        {
            throw new DataFault("file", "the upload was deleted when its job ended; upload the data again.");
        }
        var directory = spool.DirectoryOf(dataset.Id);
        var intake = Intake.Load(directory);
        var limits = options.Value;
        var context = new PreparationContext
        {
            DatasetId = dataset.Id,
            Spec = JsonSerializer.Deserialize<DatasetSpec>(dataset.Spec, PlatformJson.Options)!,
            Source = intake.Source,
            SpoolDirectory = directory,
            ScratchDirectory = scratch,
            DuckDb = new DuckDbLimits(limits.DuckDbMegabytes, limits.DuckDbThreads, scratch),
            Key = key,
            Sizes = new PreparationSizes(ShardBytes: limits.ShardBytes, SampleRows: limits.SampleRows),
            CreatedAt = dataset.CreatedAt,
            Store = StoreAsync,
            Report = new Progress(job).Report,
        };
        // Reading and computing block; the thread pool's worker must not be the one that heartbeats wait for.
        return await Task.Factory.StartNew(
            () => intake.Table is { } table ? context.Spec.Task == LearningTask.LanguageModeling
                    ? new TextPreparation(context, table).RunAsync(cancellationToken)
                    : new TablePreparation(context, table).RunAsync(cancellationToken)
                : new ImagePreparation(context, intake.Idx is { } pairs ? new IdxImages(directory, pairs) : new ZipImages(directory, intake.Zip!)).RunAsync(cancellationToken),
            cancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();
    }

    private async Task<DatasetBlob> StoreAsync(string path, string mediaType, CancellationToken cancellationToken)
    {
        var blob = await blobs.UploadAsync(path, mediaType, cancellationToken);
        return new DatasetBlob(blob.Sha256, blob.Bytes);
    }

    private async Task CompleteAsync(JobContext job, Dataset dataset, PreparedDataset prepared)
    {
        var (manifest, now) = (prepared.Manifest, clock.GetUtcNow());
        var stored = await db.EndAsync<Dataset>(job, SubjectState.Succeeded, now, row => row
            .SetProperty(d => d.ManifestSha256, prepared.ManifestSha256)
            .SetProperty(d => d.Manifest, Encoding.UTF8.GetString(prepared.ManifestBytes))
            .SetProperty(d => d.Profile, Encoding.UTF8.GetString(prepared.ProfileBytes))
            .SetProperty(d => d.Rows, manifest.Rows)
            .SetProperty(d => d.Kind, manifest.Kind)
            .SetProperty(d => d.Task, manifest.Task)
            .Changed(clock), Tell);
        if (stored)
        {
            spool.DeleteUpload(dataset.Id);
            PreprocessingTelemetry.PreparedRows.Add(manifest.Rows);
            LogReady(dataset.Id, manifest.Rows, prepared.ManifestSha256);
        }

        void Tell()
        {
            db.Publish(new DatasetPrepared
            {
                DatasetId = dataset.Id,
                Name = dataset.Name,
                Owner = dataset.Owner,
                ManifestSha256 = prepared.ManifestSha256,
                SourceSha256 = dataset.SourceSha256,
                Rows = manifest.Rows,
                Kind = manifest.Kind,
                Task = manifest.Task,
                At = now,
            });
            db.Audit(dataset.Owner, "dataset.prepared", $"dataset/{dataset.Id}", new { prepared.ManifestSha256, manifest.Rows });
            job.Complete(db, dataset.ResultUri);
        }
    }

    private async Task RefuseAsync(JobContext job, Guid id, DataFault fault)
    {
        var stored = await db.EndAsync<Dataset>(job, SubjectState.Refused, clock.GetUtcNow(), row => row
            .SetProperty(d => d.ProblemField, fault.Field)
            .SetProperty(d => d.Error, fault.Detail)
            .Changed(clock), () => job.Fail(db, fault.Message, retryable: false));
        if (stored)
        {
            spool.DeleteUpload(id);
            LogRefused(id, fault.Message);
        }
    }

    /// <summary>Passes on what is worth a heartbeat: a new step or another hundredth.</summary>
    private sealed class Progress(JobContext job)
    {
        private string _doing = "";
        private double _last = -1;

        public void Report(double progress, string doing)
        {
            if (doing == _doing && progress < _last + 0.01)
            {
                return;
            }
            string[] log = doing == _doing ? [] : [doing];
            (_doing, _last) = (doing, progress);
            job.Report(progress, doing, log);
        }
    }

    [LoggerMessage(LogLevel.Information, "Dataset {Id} is ready: {Rows} rows, manifest {Sha256}")]
    private partial void LogReady(Guid id, long rows, string sha256);

    [LoggerMessage(LogLevel.Information, "Dataset {Id} cannot be prepared: {Fault}")]
    private partial void LogRefused(Guid id, string fault);

    [LoggerMessage(LogLevel.Error, "Reading the spooled table of dataset {Id} failed: {Kind}")]
    private partial void LogReader(Guid id, string kind);
}
