namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>Where the work on a subject is. Stored and sent, by number or by name: append only.</summary>
public enum SubjectState
{
    Queued = 0,
    Running = 1,
    Succeeded = 2,

    /// <summary>Ended without a result; a retry of the job may still bring one.</summary>
    Failed = 3,
    Cancelled = 4,

    /// <summary>Done, and the result did not meet what the request demands; a retry would end the same way.</summary>
    Refused = 5,
}

/// <summary>
/// A row whose result a job makes: dataset, run, compression, explanation. <see cref="LeaseId"/> and <see cref="Attempt"/> are the fence:
/// an attempt takes the row unless a newer one has it (<see cref="JobSubjects.TakeAsync"/>) and stores only while the row carries its lease
/// (<see cref="JobSubjects.EndAsync"/>), so that every job ends exactly once.
/// </summary>
public abstract class JobSubject
{
    public required Guid Id { get; init; }
    public required Guid JobId { get; init; }

    /// <summary>Of the request that made this row, unique; see <see cref="RequestKeys"/>.</summary>
    public string? RequestKey { get; init; }
    public required string Owner { get; init; }
    public SubjectState State { get; set; }
    public Guid? LeaseId { get; set; }
    public int Attempt { get; set; }

    /// <summary>Why there is no result, for people.</summary>
    public string? Error { get; set; }

    /// <summary>What the job of a refused subject fails with, at every attempt.</summary>
    public virtual string? Refusal => Error;
    public required DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? EndedAt { get; set; }

    /// <summary>Where the result is read, relative to the gateway.</summary>
    public abstract string ResultUri { get; }
}
