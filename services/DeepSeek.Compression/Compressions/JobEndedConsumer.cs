using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Compression.Compressions;

/// <summary>Marks a compression that ended without a report: its attempts are spent, or it was cancelled.</summary>
public sealed class JobEndedConsumer(CompressionDb db, TimeProvider clock) : InboxConsumer<CompressionDb, JobEnded>(db)
{
    protected override async Task HandleAsync(CompressionDb db, JobEnded message, CancellationToken cancellationToken)
    {
        if (message.Kind != JobKinds.Compress || message.State == JobState.Succeeded)
            return;
        var state = message.State == JobState.Cancelled ? CompressionState.Cancelled : CompressionState.Failed;
        await db.Compressions.Where(row => row.JobId == message.JobId && row.EndedAt == null).ExecuteUpdateAsync(set => set
            .SetProperty(row => row.State, state)
            .SetProperty(row => row.Error, message.Error)
            .SetProperty(row => row.EndedAt, clock.GetUtcNow()), cancellationToken);
    }
}
