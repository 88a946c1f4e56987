using DeepSeek.Contracts.Jobs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Query;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>Marks subjects whose job ended without a worker's word: attempts spent, lease run out, cancelled in the queue.</summary>
/// <param name="kind">One of <see cref="JobKinds"/>; ends of other kinds are not this service's.</param>
public abstract class SubjectEndedConsumer<TDb, TSubject>(TDb db, TimeProvider clock, string kind) : InboxConsumer<TDb, JobEnded>(db)
    where TDb : DbContext
    where TSubject : JobSubject
{
    protected TimeProvider Clock => clock;

    protected sealed override async Task HandleAsync(TDb db, JobEnded message, CancellationToken cancellationToken)
    {
        if (message.Kind != kind)
        {
            return;
        }

        var marked = message.State != JobState.Succeeded && await MarkAsync(db, message, cancellationToken);
        await EndedAsync(db, message, marked, cancellationToken);
    }

    /// <summary>Further columns to set on a row that is marked.</summary>
    protected virtual void Set(UpdateSettersBuilder<TSubject> row)
    {
    }

    /// <summary>What else the end of a job means to the service; comes again when the message is delivered again.</summary>
    /// <param name="marked">The row has taken its state from this message.</param>
    protected virtual Task EndedAsync(TDb db, JobEnded message, bool marked, CancellationToken cancellationToken) => Task.CompletedTask;

    private async Task<bool> MarkAsync(TDb db, JobEnded message, CancellationToken cancellationToken)
    {
        var state = message.State == JobState.Cancelled ? SubjectState.Cancelled : SubjectState.Failed;
        var now = clock.GetUtcNow();
        // A late word on an attempt must not end the one that a retry has started since; and what the worker stored says more than this does.
        return await db.Set<TSubject>()
            .Where(row => row.JobId == message.JobId && (message.Attempt == 0 || row.Attempt <= message.Attempt))
            .Where(row => row.State == SubjectState.Queued || row.State == SubjectState.Running
                || (row.State == SubjectState.Failed && state == SubjectState.Cancelled))
            .ExecuteUpdateAsync(set =>
            {
                set.SetProperty(row => row.State, state)
                    .SetProperty(row => row.Error, message.Error)
                    .SetProperty(row => row.EndedAt, now);
                Set(set);
            }, cancellationToken) == 1;
    }
}
