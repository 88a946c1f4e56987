using DeepSeek.ServiceDefaults.Jobs;

namespace DeepSeek.Preprocessing.Datasets;

/// <summary>A dataset's state as clients read it: what other subjects call succeeded is ready here.</summary>
public enum DatasetState { Queued = 0, Running = 1, Ready = 2, Failed = 3, Cancelled = 4 }

internal static class DatasetStates
{
    /// <summary>Data that cannot be prepared has failed, to a client; only a retry of the job makes a difference.</summary>
    public static DatasetState Shown(this SubjectState state) => state == SubjectState.Refused ? DatasetState.Failed : (DatasetState)state;
}

/// <summary>A dataset from upload on. Holds no cell of the data but, in the profile, masked statistics.</summary>
public sealed class Dataset : JobSubject
{
    public required string Name { get; init; }

    /// <summary>The spec as it was sent, JSON.</summary>
    public required string Spec { get; init; }

    public required string SourceName { get; init; }

    public required string SourceSha256 { get; init; }

    public required long SourceBytes { get; init; }

    public string? ManifestSha256 { get; set; }

    public string? Manifest { get; set; }

    public string? Profile { get; set; }

    public long? Rows { get; set; }

    public string? Kind { get; set; }

    public string? Task { get; set; }

    /// <summary>The part of the data at fault; <see cref="JobSubject.Error"/> says what to do about it.</summary>
    public string? ProblemField { get; set; }

    public required DateTimeOffset UpdatedAt { get; set; }

    /// <summary>Grows with every change; the ETag.</summary>
    public long Version { get; set; } = 1;

    public override string? Refusal => $"{ProblemField}: {Error}";

    public override string ResultUri => $"/api/v1/datasets/{Id}";
}
