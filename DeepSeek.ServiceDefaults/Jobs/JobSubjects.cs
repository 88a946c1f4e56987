using DeepSeek.Contracts.Jobs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Query;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>The steps of a <see cref="JobSubject"/>'s row, the same in every service: submitted, taken, given back, ended.</summary>
public static class JobSubjects
{
    /// <summary>The row that an earlier request under this key made; null when there is none, or no key.</summary>
    public static async Task<T?> FindRepeatedAsync<T>(this DbContext db, string? requestKey, CancellationToken cancellationToken)
        where T : JobSubject =>
        requestKey is null ? null : await db.Set<T>().AsNoTracking().SingleOrDefaultAsync(row => row.RequestKey == requestKey, cancellationToken);

    /// <summary>Saves a new row together with its job; returns it, or the row of a request under the same key that was faster.</summary>
    public static async Task<T> SubmitAsync<T>(
        this DbContext db, T subject, string kind, string name, int priority, CancellationToken cancellationToken)
        where T : JobSubject
    {
        db.Add(subject);
        db.Publish(new SubmitJob
        {
            JobId = subject.JobId,
            Kind = kind,
            SubjectId = subject.Id,
            Name = name,
            Owner = subject.Owner,
            Priority = priority,
            SubmittedAt = subject.CreatedAt,
        });
        return await db.TrySaveNewAsync(cancellationToken) ? subject : (await db.FindRepeatedAsync<T>(subject.RequestKey, cancellationToken))!;
    }

    /// <summary>
    /// Puts the attempt's lease on the row and returns it. Null when there is nothing for this attempt to do: an earlier one stored the result,
    /// which is told again, because its word may not have reached Scheduling, or the row is held by a newer one.
    /// </summary>
    /// <param name="also">Further columns to set.</param>
    /// <exception cref="JobRefusedException">The row is gone.</exception>
    public static async Task<T?> TakeAsync<T>(
        this DbContext db, JobContext job, CancellationToken cancellationToken, Action<UpdateSettersBuilder<T>>? also = null)
        where T : JobSubject
    {
        var taken = await db.Set<T>()
            .Where(row => row.Id == job.SubjectId && row.Attempt < job.Attempt && row.State != SubjectState.Succeeded && row.State != SubjectState.Refused)
            .ExecuteUpdateAsync(set =>
            {
                set.SetProperty(row => row.LeaseId, job.LeaseId)
                    .SetProperty(row => row.Attempt, job.Attempt)
                    .SetProperty(row => row.State, SubjectState.Running)
                    .SetProperty(row => row.Error, (string?)null)
                    .SetProperty(row => row.EndedAt, (DateTimeOffset?)null);
                also?.Invoke(set);
            }, cancellationToken);
        var row = await db.Set<T>().AsNoTracking().SingleOrDefaultAsync(row => row.Id == job.SubjectId, cancellationToken)
            ?? throw new JobRefusedException($"What job {job.JobId} works on ({job.SubjectId}) is not there any more.");
        if (taken == 1)
        {
            return row;
        }

        switch (row.State)
        {
            case SubjectState.Succeeded when row.Attempt < job.Attempt:
                job.Complete(db, row.ResultUri);
                break;
            case SubjectState.Refused when row.Attempt < job.Attempt:
                job.Fail(db, row.Refusal!, retryable: false);
                break;
            default:
                job.Drop();
                return null;
        }

        await db.SaveChangesAsync(cancellationToken);
        return null;
    }

    /// <summary>
    /// Stores how this attempt ended, together with what <paramref name="tell"/> adds to the outbox, if the row still carries its lease;
    /// otherwise drops it and returns false. Not to be cancelled: the work is done.
    /// </summary>
    /// <param name="state">Succeeded, Failed, or Refused with <paramref name="set"/> giving the error.</param>
    /// <param name="set">The result's columns.</param>
    /// <param name="tell">Adds messages, <see cref="JobContext.Complete"/> or <see cref="JobContext.Fail"/> among them.</param>
    public static async Task<bool> EndAsync<T>(
        this DbContext db, JobContext job, SubjectState state, DateTimeOffset now, Action<UpdateSettersBuilder<T>> set, Action tell)
        where T : JobSubject
    {
        // The streams of the job's events close with its end.
        await job.FlushAsync();
        return await db.LeaveAsync<T>(job, state, columns =>
        {
            columns.SetProperty(row => row.EndedAt, now);
            set(columns);
        }, tell);
    }

    /// <summary>Gives the row back to the queue for another attempt; drops the attempt when the row does not carry its lease.</summary>
    /// <param name="also">Further columns to set.</param>
    public static Task<bool> YieldAsync<T>(this DbContext db, JobContext job, Action<UpdateSettersBuilder<T>>? also = null)
        where T : JobSubject =>
        db.LeaveAsync(job, SubjectState.Queued, also, () => job.Yield(db));

    private static async Task<bool> LeaveAsync<T>(
        this DbContext db, JobContext job, SubjectState state, Action<UpdateSettersBuilder<T>>? set, Action tell)
        where T : JobSubject
    {
        await using var transaction = await db.Database.BeginTransactionAsync(CancellationToken.None);
        var held = await db.Set<T>()
            .Where(row => row.Id == job.SubjectId && row.LeaseId == job.LeaseId && row.State == SubjectState.Running)
            .ExecuteUpdateAsync(columns =>
            {
                columns.SetProperty(row => row.State, state);
                set?.Invoke(columns);
            }, CancellationToken.None);
        if (held == 0)
        {
            job.Drop();
            return false;
        }

        tell();
        await db.SaveChangesAsync(CancellationToken.None);
        await transaction.CommitAsync(CancellationToken.None);
        return true;
    }
}
