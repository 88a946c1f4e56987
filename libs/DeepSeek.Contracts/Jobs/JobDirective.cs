namespace DeepSeek.Contracts.Jobs;

/// <summary>What Scheduling answers to a heartbeat. Stored and sent: append only.</summary>
public enum JobDirective
{
    Continue = 0,

    /// <summary>Somebody cancelled the job: stop and clean up.</summary>
    Cancel = 1,

    /// <summary>Checkpoint and give the slot back; the job is queued again and will resume.</summary>
    Yield = 2,

    /// <summary>The lease is over: stop, store nothing.</summary>
    Lost = 3,
}
