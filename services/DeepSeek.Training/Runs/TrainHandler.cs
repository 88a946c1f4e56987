using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Training.Trainers;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>One attempt at a run.</summary>
/// <remarks>
/// 1. The attempt takes the run's row unless a newer one has it. 2. The folder is laid out; what an earlier attempt on this machine left,
/// checkpoints above all, is kept. 3. The trainer runs, is watched, and yields or dies when told. 4. Its exit code decides: result,
/// yield, refusal or another attempt. Every store after step 1 happens only while the row carries this lease.
/// </remarks>
public sealed partial class TrainHandler(
    TrainingDb db, RunFolders folders, RunInput input, RunResult result, TrainerLauncher trainers, TimeProvider clock,
    Microsoft.Extensions.Options.IOptions<TrainerOptions> options, ILogger<TrainHandler> logger) : IJobHandler
{
    public async Task RunAsync(JobContext job, CancellationToken cancelled)
    {
        if (await ClaimAsync(job, cancelled) is not { } run)
        {
            return;
        }
        var folder = folders.Of(run.Id);
        try
        {
            await using (await folders.EnterAsync(run.Id, cancelled))
            {
                await input.PrepareAsync(run, folder, job, cancelled);
                await TrainAsync(run, folder, job, cancelled);
            }
        }
        catch (IOException fault) when (RunFolders.IsDiskFull(fault))
        {
            throw new IOException($"The disk of the training folder '{folder}' is full: free space, then the run goes on.", fault);
        }
        if (await db.Runs.AnyAsync(r => r.Id == run.Id && r.State == RunState.Succeeded, CancellationToken.None))
        {
            folders.Delete(run.Id);
        }
    }

    /// <summary>Null when there is nothing for this attempt to do.</summary>
    private async Task<Run?> ClaimAsync(JobContext job, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var claimed = await db.Runs
            .Where(run => run.Id == job.SubjectId && run.Attempt < job.Attempt && run.State != RunState.Succeeded)
            .ExecuteUpdateAsync(run => run
                .SetProperty(r => r.Attempt, job.Attempt)
                .SetProperty(r => r.LeaseId, job.LeaseId)
                .SetProperty(r => r.State, RunState.Running)
                .SetProperty(r => r.Error, (string?)null)
                .SetProperty(r => r.StartedAt, r => r.StartedAt ?? now)
                .SetProperty(r => r.EndedAt, (DateTimeOffset?)null), cancellationToken);
        var run = await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.Id == job.SubjectId, cancellationToken)
            ?? throw new JobRefusedException($"There is no run '{job.SubjectId}' any more.");
        if (claimed == 1)
        {
            return run;
        }
        if (run.State == RunState.Succeeded)
        {
            // An earlier attempt stored the result, and its word has not reached Scheduling yet.
            job.Complete(db, run.ResultUri);
            await db.SaveChangesAsync(cancellationToken);
        }
        else
        {
            job.Drop();
        }
        return null;
    }

    private async Task TrainAsync(Run run, string folder, JobContext job, CancellationToken cancelled)
    {
        await using var trainer = trainers.Start(folder);
        LogStarted(logger, run.Id, trainer.Id);
        await using var killing = cancelled.Register(trainer.Kill);
        using var patience = new CancellationTokenSource();
        await using var impatience = patience.Token.Register(trainer.Kill);
        await using var yielding = job.YieldToken.Register(() =>
        {
            trainer.RequestYield();
            patience.CancelAfter(TimeSpan.FromSeconds(options.Value.YieldSeconds));
        });
        var fault = await WatchAsync(run, trainer, job, cancelled);
        var exit = (TrainerExit)await trainer.Exit;
        LogExited(logger, run.Id, (int)exit);
        cancelled.ThrowIfCancellationRequested();
        switch (exit)
        {
            case TrainerExit.Done:
                await result.StoreAsync(run, folder, job, cancelled);
                break;
            case TrainerExit.Yielded:
            case TrainerExit.Killed when patience.IsCancellationRequested:
                // Killed because it took too long to yield, it resumes from the checkpoint before.
                await YieldAsync(run, job);
                break;
            case TrainerExit.BadInput:
                throw new JobRefusedException(fault ?? "The trainer refused its input without a word.");
            default:
                throw new IOException(fault ?? Describe((int)exit, trainer.ErrorTail));
        }
    }

    /// <summary>Follows the trainer until it falls silent; returns the error that it told, if any.</summary>
    private async Task<string?> WatchAsync(Run run, TrainerRun trainer, JobContext job, CancellationToken cancelled)
    {
        var metrics = new MetricSink(db, run.Id, job.LeaseId, clock, logger);
        var (progress, message, epochs) = (0.0, "starting the trainer", 0);
        string? fault = null;
        job.Report(progress, message);
        await foreach (var line in trainer.Lines)
        {
            switch (TrainerEvent.Parse(line))
            {
                case { Event: "started" } started:
                    epochs = started.Epochs;
                    message = "training";
                    job.Report(progress, message, started.ResumedFromStep > 0 ? $"resumed from the checkpoint at step {started.ResumedFromStep}" : "started from new weights");
                    break;
                case { Event: "progress" } step:
                    (progress, message) = (step.Progress, $"epoch {step.Epoch} of {epochs}, step {step.Step}, loss {step.Loss:0.####}");
                    job.Report(progress, message, Named(step));
                    if (step.Metrics is { Count: > 0 } measured)
                    {
                        job.Report(progress, message, $"{message}, validation {string.Join(", ", measured.Select(metric => $"{metric.Key} {metric.Value:0.####}"))}");
                    }
                    await metrics.AddAsync(step, cancelled);
                    break;
                case { Event: "checkpoint" } checkpoint:
                    job.Report(progress, message, $"checkpoint at step {checkpoint.Step}");
                    break;
                case { Event: "warning" } warning:
                    job.Report(progress, message, $"warning: {warning.Message}");
                    break;
                case { Event: "error" } error:
                    fault = error.Message;
                    job.Report(progress, message, $"error: {error.Message}");
                    break;
                case null:
                    job.Report(progress, message, line);
                    break;
            }
        }
        await metrics.FinishAsync(cancelled);
        return fault;
    }

    private async Task YieldAsync(Run run, JobContext job)
    {
        await using var transaction = await db.Database.BeginTransactionAsync();
        var mine = await db.Runs.Where(r => r.Id == run.Id && r.LeaseId == job.LeaseId && r.State == RunState.Running)
            .ExecuteUpdateAsync(update => update.SetProperty(r => r.State, RunState.Queued));
        if (mine == 0)
        {
            job.Drop();
            return;
        }
        job.Yield(db);
        await db.SaveChangesAsync();
        await transaction.CommitAsync();
    }

    private static Dictionary<string, double> Named(TrainerEvent step)
    {
        var values = new Dictionary<string, double> { ["epoch"] = step.Epoch, ["step"] = step.Step };
        if (step.Loss is { } loss)
        {
            values["loss"] = loss;
        }
        foreach (var (name, value) in step.Metrics ?? new Dictionary<string, double>())
        {
            values["validation." + name] = value;
        }
        return values;
    }

    private static string Describe(int exit, string errors)
    {
        const int crashed = 128 + 11;
        var how = exit switch
        {
            (int)TrainerExit.Killed => "The trainer was killed (signal 9), perhaps because memory ran out",
            crashed => "The trainer crashed (signal 11)",
            _ => $"The trainer ended with exit code {exit}",
        };
        return errors.Length == 0 ? $"{how}." : $"{how}; it wrote last: {errors}";
    }

    /// <summary>Exit codes of the trainer.</summary>
    private enum TrainerExit
    {
        Done = 0,
        BadInput = 2,

        /// <summary>Stopped behind a checkpoint, because it was asked to.</summary>
        Yielded = 75,

        /// <summary>By signal 9.</summary>
        Killed = 128 + 9,
    }

    [LoggerMessage(LogLevel.Information, "Run {RunId}: trainer {ProcessId} started.")]
    private static partial void LogStarted(ILogger logger, Guid runId, int processId);

    [LoggerMessage(LogLevel.Information, "Run {RunId}: trainer exited with {ExitCode}.")]
    private static partial void LogExited(ILogger logger, Guid runId, int exitCode);
}
