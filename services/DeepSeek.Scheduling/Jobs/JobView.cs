using DeepSeek.Contracts.Jobs;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>A job as clients read it.</summary>
/// <param name="Attempt">The attempt under way or made last, from 1; 0 before the first start.</param>
/// <param name="WaitingFor">Why it does not run, for people; null unless it waits.</param>
/// <param name="Result">Where the result is read.</param>
public sealed record JobView(
    Guid Id, string Kind, Guid SubjectId, string Name, string Owner, JobState State, int Priority, int Attempt, int MaxAttempts,
    double Progress, string Message, string? WaitingFor, string? Error, DateTimeOffset CreatedAt, DateTimeOffset? StartedAt,
    DateTimeOffset? EndedAt, string? Result)
{
    public static JobView Of(Job job, string? waitingFor) => new(
        job.Id, job.Kind, job.SubjectId, job.Name, job.Owner, job.State, job.Priority, job.Attempt, job.MaxAttempts,
        job.Progress, job.Message, waitingFor, job.Error, job.CreatedAt, job.StartedAt, job.EndedAt, job.Result);
}

/// <summary>One lease that a worker held.</summary>
/// <param name="Dispatch">Number of the offer that the worker accepted.</param>
/// <param name="Cause">Why it ended without a result.</param>
public sealed record AttemptView(
    int Dispatch, string WorkerId, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, AttemptOutcome? Outcome, string? Cause)
{
    public static AttemptView Of(JobAttempt attempt) =>
        new(attempt.Dispatch, attempt.WorkerId, attempt.StartedAt, attempt.EndedAt, attempt.Outcome, attempt.Cause);
}

public sealed record LogLine(long Seq, DateTimeOffset At, string Line);
