using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Training.Runs;

/// <summary>One training run.</summary>
public sealed class Run : JobSubject
{
    public long Sequence { get; init; }
    public required string Name { get; init; }
    public required string ModelName { get; init; }
    public Guid DatasetId { get; init; }
    public required string DatasetManifestSha256 { get; init; }

    /// <summary>The run spec as it is given to the trainer, byte for byte.</summary>
    public required string Spec { get; init; }

    /// <summary>Where and how it computes (<see cref="RunCompute"/>), JSON; once its trainer has decided.</summary>
    public string? Compute { get; set; }

    /// <summary>Metrics on the test split, JSON; once succeeded.</summary>
    public string? Metrics { get; set; }

    /// <summary>The artifacts, JSON; once succeeded.</summary>
    public string? Artifacts { get; set; }
    public DateTimeOffset? StartedAt { get; set; }

    public override string ResultUri => $"/api/v1/runs/{Id}";
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
