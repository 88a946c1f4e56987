using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Training.Runs;

/// <summary>Also clears the table of runs that ended for good.</summary>
/// <remarks>A failed run keeps its folder, so that a retry resumes from its checkpoints; <see cref="RunFolderSweeper"/> removes it later.</remarks>
public sealed class JobEndedConsumer(TrainingDb db, RunFolders folders, TimeProvider clock)
    : SubjectEndedConsumer<TrainingDb, Run>(db, clock, JobKinds.Train)
{
    protected override Task EndedAsync(TrainingDb db, JobEnded message, bool marked, CancellationToken cancellationToken)
    {
        if (message.State == JobState.Succeeded || (marked && message.State == JobState.Cancelled))
        {
            folders.Delete(message.SubjectId);
        }

        return Task.CompletedTask;
    }
}
