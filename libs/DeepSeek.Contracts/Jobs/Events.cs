using DeepSeek.Contracts.Devices;

namespace DeepSeek.Contracts.Jobs;

/// <summary>The subject service stored the result under its fence; true whatever became of the lease since.</summary>
public sealed record JobCompleted
{
    public required Guid JobId { get; init; }
    public required Guid LeaseId { get; init; }

    /// <summary>Where the result is read, relative to the gateway.</summary>
    public required string ResultUri { get; init; }
}

public sealed record JobFailed
{
    public required Guid JobId { get; init; }
    public required Guid LeaseId { get; init; }

    /// <summary>The fault and its remedy, for people.</summary>
    public required string Error { get; init; }

    /// <summary>False when another attempt would fail the same way.</summary>
    public required bool Retryable { get; init; }
}

/// <summary>The worker saved its state and gave the slot back.</summary>
public sealed record JobYielded
{
    public required Guid JobId { get; init; }
    public required Guid LeaseId { get; init; }
}

/// <summary>The worker stopped because it was told to cancel.</summary>
public sealed record JobCancelled
{
    public required Guid JobId { get; init; }
    public required Guid LeaseId { get; init; }
}

/// <summary>Scheduling's last word on a job; the subject service marks its row by it when no worker could.</summary>
public sealed record JobEnded
{
    public required Guid JobId { get; init; }
    public required string Kind { get; init; }
    public required Guid SubjectId { get; init; }

    /// <summary>Succeeded, Failed or Cancelled.</summary>
    public required JobState State { get; init; }

    /// <summary>The <see cref="RunJob.Attempt"/> offered last; a subject that has begun a later one ignores this end. 0: unknown, it applies.</summary>
    public int Attempt { get; init; }

    public string? Error { get; init; }
}

/// <summary>A worker's sign of life, every 5 s.</summary>
public sealed record WorkerSeen
{
    public required string WorkerId { get; init; }
    public required string Kind { get; init; }

    /// <summary>How many jobs it runs at once; 0 when it is leaving.</summary>
    public required int Slots { get; init; }

    public required int Busy { get; init; }
    public required string Host { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>What its machine's best device was rated at for work of this kind, in floating-point operations a second; null where none was rated.</summary>
    public double? Rating { get; init; }

    /// <summary>Its machine's devices that were rated.</summary>
    public IReadOnlyList<RatedDevice> Devices { get; init; } = [];
}
