using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Training.Trainers;

namespace DeepSeek.Training.Runs;

/// <summary>Passes on what a trainer writes: progress and log to the job, losses and metrics to the run's series.</summary>
internal sealed class TrainerWatch(JobContext job, MetricSink metrics, ComputeSink compute, WorkersClient workers)
{
    /// <summary>Follows the trainer until it falls silent; returns the error that it told, if any.</summary>
    public async Task<string?> FollowAsync(TrainerRun trainer, CancellationToken cancelled)
    {
        var (progress, message, epochs) = (0.0, "starting the trainer", 0);
        string? fault = null;
        RunCompute? decided = null;
        job.Report(progress, message);
        await foreach (var line in trainer.Lines)
        {
            switch (TrainerEvent.Parse(line))
            {
                case { Event: "compute" } told:
                    decided = RunCompute.Of(told);
                    job.Report(progress, message, decided.Describe());
                    foreach (var reason in decided.Reasons)
                    {
                        job.Report(progress, message, reason);
                    }
                    await compute.SetAsync(decided, cancelled);
                    break;
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
                    await compute.FlushAsync(cancelled);
                    break;
                case { Event: "memory", Phases: { } phases }:
                    job.Report(progress, message, $"most memory in tensors, first step: {string.Join(", ", phases.Select(phase => $"{phase.Name} {phase.Peak / (double)(1 << 20):F1} MiB"))}");
                    break;
                case { Event: "checkpoint" } checkpoint:
                    job.Report(progress, message, $"checkpoint at step {checkpoint.Step}");
                    break;
                case { Event: "usage", Usage: { Steps: > 0, Seconds: > 0 } usage } when decided is not null:
                    var advice = HardwareAdvice.Of(decided, usage, Environment.MachineName, await workers.DevicesAsync(cancelled));
                    foreach (var sentence in advice.Sentences)
                    {
                        job.Report(progress, message, sentence);
                    }
                    await compute.SetAsync(decided with { Usage = usage, Advice = advice }, cancelled);
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
        await compute.FlushAsync(cancelled);
        return fault;
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
}
