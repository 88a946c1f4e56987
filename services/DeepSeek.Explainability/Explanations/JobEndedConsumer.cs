using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using Microsoft.EntityFrameworkCore;

namespace DeepSeek.Explainability.Explanations;

/// <summary>Marks an explanation that ended without a report: its attempts are spent, or it was cancelled.</summary>
public sealed class JobEndedConsumer(ExplainabilityDb db, TimeProvider clock) : InboxConsumer<ExplainabilityDb, JobEnded>(db)
{
    protected override async Task HandleAsync(ExplainabilityDb db, JobEnded message, CancellationToken cancellationToken)
    {
        if (message.Kind != JobKinds.Explain || message.State == JobState.Succeeded)
        {
            return;
        }

        var state = message.State == JobState.Cancelled ? ExplanationState.Cancelled : ExplanationState.Failed;
        await db.Explanations.Where(row => row.JobId == message.JobId && row.EndedAt == null).ExecuteUpdateAsync(set => set
            .SetProperty(row => row.State, state)
            .SetProperty(row => row.Error, message.Error)
            .SetProperty(row => row.EndedAt, clock.GetUtcNow()), cancellationToken);
    }
}
