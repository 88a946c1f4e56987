using System.Text.Json;

namespace DeepSeek.Scheduling.Jobs;

/// <summary>Stored: append only.</summary>
public enum JobEventType
{
    State = 0,
    Progress = 1,
    Log = 2,
}

/// <summary>One entry of a job's series; <see cref="Seq"/> counts from 1 within the job without gaps.</summary>
public sealed class JobEvent
{
    public Guid JobId { get; init; }
    public long Seq { get; init; }
    public JobEventType Type { get; init; }
    public DateTimeOffset At { get; init; }

    /// <summary>JSON; its fields depend on the type.</summary>
    public required string Data { get; init; }

    internal static string Json<T>(T data) => JsonSerializer.Serialize(data, JsonSerializerOptions.Web);
}

/// <summary>Data of a state event.</summary>
/// <param name="Cause">Why the job came to this state, where that is not plain.</param>
public sealed record StateData(string State, int Attempt, int MaxAttempts, int Priority, DateTimeOffset At, string? Cause, string? Worker, string? Result);

public sealed record ProgressData(double Progress, string Message, DateTimeOffset At, IReadOnlyDictionary<string, double>? Metrics);

public sealed record LogData(string Line, DateTimeOffset At);
