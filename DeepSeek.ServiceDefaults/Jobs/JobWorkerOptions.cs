using System.ComponentModel.DataAnnotations;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>Configuration section <c>Worker</c>; <c>Worker:&lt;kind&gt;</c> overrides it for one kind.</summary>
public sealed class JobWorkerOptions
{
    public const string Section = "Worker";

    /// <summary>Jobs of the kind that this process runs at once. Default 1, 1 to 256.</summary>
    [Range(1, 256)]
    public int Slots { get; set; } = 1;

    /// <summary>Seconds between signs of life. Default 5, 0.1 to 10.</summary>
    [Range(0.1, 10)]
    public double SeenSeconds { get; set; } = 5;

    /// <summary>Most seconds between two heartbeats, however long the lease: the longest that a cancellation waits. Default 3, 0.1 to 60.</summary>
    [Range(0.1, 60)]
    public double BeatSeconds { get; set; } = 3;

    /// <summary>Seconds that running jobs have to checkpoint when the process is told to stop. Default 3.5, 0.1 to 600.</summary>
    [Range(0.1, 600)]
    public double YieldSeconds { get; set; } = 3.5;

    /// <summary>
    /// Seconds that Scheduling has to take back a lease when the process is told to stop; after that it runs out by itself. Default 1, 0.1 to 60.
    /// </summary>
    [Range(0.1, 60)]
    public double GiveBackSeconds { get; set; } = 1;
}
