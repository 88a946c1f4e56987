using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Training.Runs;

/// <summary>Marks runs whose end no worker could store, and clears the table of those that ended for good.</summary>
/// <remarks>A failed run keeps its folder, so that a retry resumes from its checkpoints; <see cref="RunFolderSweeper"/> removes it later.</remarks>
public sealed class JobEndedConsumer(TrainingDb db, RunFolders folders, TimeProvider clock) : InboxConsumer<TrainingDb, JobEnded>(db)
{
    protected override async Task HandleAsync(TrainingDb db, JobEnded message, CancellationToken cancellationToken)
    {
        if (message.Kind != JobKinds.Train)
        {
            return;
        }
        if (message.State is JobState.Failed or JobState.Cancelled)
        {
            var state = message.State == JobState.Failed ? RunState.Failed : RunState.Cancelled;
            var now = clock.GetUtcNow();
            // A late word on an attempt must not end the one that a retry has started since.
            var ended = await db.Runs
                .Where(run => run.JobId == message.JobId && run.State != RunState.Succeeded && (message.Attempt == 0 || run.Attempt <= message.Attempt))
                .ExecuteUpdateAsync(run => run
                    .SetProperty(r => r.State, state)
                    .SetProperty(r => r.Error, message.Error)
                    .SetProperty(r => r.EndedAt, now), cancellationToken);
            if (ended > 0 && state == RunState.Cancelled)
            {
                folders.Delete(message.SubjectId);
            }
        }
        else
        {
            folders.Delete(message.SubjectId);
        }
    }
}
