using DeepSeek.Contracts.Jobs;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Uploads;
using DeepSeek.ServiceDefaults;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>Marks datasets whose job ended without a worker's word: cancelled in the queue, or out of attempts. The upload goes with the job.</summary>
internal sealed class JobEndedConsumer(PreprocessingDb db, Spool spool, TimeProvider clock) : InboxConsumer<PreprocessingDb, JobEnded>(db)
{
    protected override async Task HandleAsync(PreprocessingDb db, JobEnded message, CancellationToken cancellationToken)
    {
        if (message.Kind != JobKinds.Prepare || message.State is not (JobState.Failed or JobState.Cancelled))
        {
            return;
        }
        var dataset = await db.Datasets.SingleOrDefaultAsync(d => d.Id == message.SubjectId && d.JobId == message.JobId, cancellationToken);
        if (dataset is null or { State: DatasetState.Ready })
        {
            return;
        }
        if (dataset.State is not (DatasetState.Failed or DatasetState.Cancelled))
        {
            dataset.State = message.State == JobState.Failed ? DatasetState.Failed : DatasetState.Cancelled;
            dataset.ProblemDetail = message.Error;
            dataset.LeaseId = null;
            dataset.UpdatedAt = clock.GetUtcNow();
            dataset.Version++;
        }
        spool.DeleteUpload(dataset.Id);
    }
}

internal sealed class JobEndedConsumerDefinition : ConsumerDefinition<JobEndedConsumer>
{
    public JobEndedConsumerDefinition() => ConcurrentMessageLimit = 1;
}
