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
    TrainingDb db, RunFolders folders, RunInput input, RunResult result, TrainerLauncher trainers, WorkersClient workers, TimeProvider clock,
    Microsoft.Extensions.Options.IOptions<TrainerOptions> options, ILogger<TrainHandler> logger) : IJobHandler
{
    public async Task RunAsync(JobContext job, CancellationToken cancelled)
    {
        var now = clock.GetUtcNow();
        if (await db.TakeAsync<Run>(job, cancelled, row => row.SetProperty(r => r.StartedAt, r => r.StartedAt ?? now)) is not { } run)
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
        if (await db.Runs.AnyAsync(r => r.Id == run.Id && r.State == SubjectState.Succeeded, CancellationToken.None))
        {
            folders.Delete(run.Id);
        }
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
        var fault = await new TrainerWatch(job, new MetricSink(db, run.Id, job.LeaseId, clock, logger), new ComputeSink(db, run.Id, job.LeaseId), workers).FollowAsync(trainer, cancelled);
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
                await db.YieldAsync<Run>(job);
                break;
            case TrainerExit.BadInput:
                throw new JobRefusedException(fault ?? "The trainer refused its input without a word.");
            default:
                throw new IOException(fault ?? exit.Describe(trainer.ErrorTail));
        }
    }

    [LoggerMessage(LogLevel.Information, "Run {RunId}: trainer {ProcessId} started.")]
    private static partial void LogStarted(ILogger logger, Guid runId, int processId);

    [LoggerMessage(LogLevel.Information, "Run {RunId}: trainer exited with {ExitCode}.")]
    private static partial void LogExited(ILogger logger, Guid runId, int exitCode);
}
