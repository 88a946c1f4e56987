using System.ComponentModel.DataAnnotations;

namespace DeepSeek.Scheduling;

public sealed class SchedulingOptions
{
    public const string Section = "Scheduling";

    /// <summary>Seconds without a heartbeat after which a running attempt is lost. Default 30.</summary>
    [Range(2, 3600)]
    public int LeaseSeconds { get; set; } = 30;

    /// <summary>Seconds that a worker has to accept an offer before it is made again. Default 15.</summary>
    [Range(1, 600)]
    public int AcceptSeconds { get; set; } = 15;

    /// <summary>Seconds of silence after which a worker's slots no longer count. Default 15, three signs of life.</summary>
    [Range(1, 600)]
    public int WorkerTimeoutSeconds { get; set; } = 15;

    /// <summary>Seconds before the second attempt; each further one waits twice as long. Default 2.</summary>
    [Range(0.05, 3600)]
    public double RetryBaseSeconds { get; set; } = 2;

    /// <summary>Most seconds between two attempts. Default 60.</summary>
    [Range(0.05, 86400)]
    public double RetryMaxSeconds { get; set; } = 60;

    /// <summary>Milliseconds between plans when nothing happens; changes are planned at once. Default 1000.</summary>
    [Range(20, 60000)]
    public int TickMilliseconds { get; set; } = 1000;

    /// <summary>Log lines kept per job; what follows is counted, not stored. Default 20 000.</summary>
    [Range(1, 10_000_000)]
    public int MaxLogLines { get; set; } = 20_000;

    /// <summary>Days after a job's end at which its progress and log are deleted; the job and its attempts stay. Default 30.</summary>
    [Range(1, 36500)]
    public int EventRetentionDays { get; set; } = 30;

    public TimeSpan Lease => TimeSpan.FromSeconds(LeaseSeconds);

    public TimeSpan Acceptance => TimeSpan.FromSeconds(AcceptSeconds);

    /// <summary>How long the next attempt waits after <paramref name="failures"/> failed ones.</summary>
    public TimeSpan BackOff(int failures) =>
        TimeSpan.FromSeconds(Math.Min(RetryMaxSeconds, RetryBaseSeconds * Math.Pow(2, Math.Clamp(failures - 1, 0, 30))));
}
