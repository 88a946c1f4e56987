namespace DeepSeek.Contracts.Jobs;

/// <summary>Where a job is; the first four may change, the last three are final. Stored and sent: append only.</summary>
public enum JobState
{
    /// <summary>Waits for a slot.</summary>
    Queued = 0,

    /// <summary>Dispatched to its kind's queue; no worker has accepted it yet.</summary>
    Leased = 1,

    /// <summary>Held by a worker whose heartbeats arrive.</summary>
    Running = 2,

    /// <summary>Asked to checkpoint and give its slot to a job of higher priority.</summary>
    Yielding = 3,

    Succeeded = 4,
    Failed = 5,
    Cancelled = 6,
}
