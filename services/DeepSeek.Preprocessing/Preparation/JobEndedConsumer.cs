using DeepSeek.Contracts.Jobs;
using DeepSeek.Preprocessing.Datasets;
using DeepSeek.Preprocessing.Uploads;
using DeepSeek.ServiceDefaults.Jobs;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Query;

namespace DeepSeek.Preprocessing.Preparation;

/// <summary>The upload goes with the job, whoever stored its end.</summary>
internal sealed class JobEndedConsumer(PreprocessingDb db, Spool spool, TimeProvider clock)
    : SubjectEndedConsumer<PreprocessingDb, Dataset>(db, clock, JobKinds.Prepare)
{
    protected override void Set(UpdateSettersBuilder<Dataset> row) => row.Changed(Clock);

    protected override async Task EndedAsync(PreprocessingDb db, JobEnded message, bool marked, CancellationToken cancellationToken)
    {
        // A retry may have begun since.
        if (!await db.Datasets.AnyAsync(d => d.JobId == message.JobId && (d.State == SubjectState.Queued || d.State == SubjectState.Running), cancellationToken))
        {
            spool.DeleteUpload(message.SubjectId);
        }
    }
}

internal sealed class JobEndedConsumerDefinition : ConsumerDefinition<JobEndedConsumer>
{
    public JobEndedConsumerDefinition() => ConcurrentMessageLimit = 1;
}
