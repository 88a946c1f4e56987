namespace DeepSeek.Training.Runs;

/// <summary>Stored and sent: append only.</summary>
public enum RunState
{
    Queued = 0,
    Running = 1,
    Succeeded = 2,
    Failed = 3,
    Cancelled = 4,
}

/// <summary>One training run. <see cref="LeaseId"/> and <see cref="Attempt"/> are the fence: only the newest attempt stores a result.</summary>
public sealed class Run
{
    public Guid Id { get; init; }
    public long Sequence { get; init; }
    public Guid JobId { get; init; }

    /// <summary>Of the request that made this row; see <see cref="DeepSeek.ServiceDefaults.RequestKeys"/>.</summary>
    public string? RequestKey { get; init; }
    public required string Name { get; init; }
    public required string ModelName { get; init; }
    public required string Owner { get; init; }
    public Guid DatasetId { get; init; }
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>The run spec as it is given to the trainer, byte for byte.</summary>
    public required string Spec { get; init; }
    public RunState State { get; set; }
    public string? Error { get; set; }

    /// <summary>Metrics on the test split, JSON; once succeeded.</summary>
    public string? Metrics { get; set; }

    /// <summary>The artifacts, JSON; once succeeded.</summary>
    public string? Artifacts { get; set; }
    public int Attempt { get; set; }
    public Guid? LeaseId { get; set; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? StartedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    public string ResultUri => $"/api/v1/runs/{Id}";
}

/// <summary>One point of a run's series. A resumed run repeats steps; the newer value of a step replaces the older.</summary>
public sealed class RunMetric
{
    public Guid RunId { get; init; }
    public required string Name { get; init; }
    public long Step { get; init; }
    public int Epoch { get; init; }
    public double Value { get; init; }
    public DateTimeOffset At { get; init; }
    public long Sequence { get; init; }
}
