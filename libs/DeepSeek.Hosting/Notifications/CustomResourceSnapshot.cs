using System.Collections.Immutable;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>State of a resource at one moment.</summary>
public sealed record CustomResourceSnapshot
{
    private readonly ImmutableArray<HealthReportSnapshot> _healthReports = [];

    /// <summary>Kind of resource: Project, Executable, Container, Parameter…</summary>
    public required string ResourceType { get; init; }

    /// <summary>Further facts.</summary>
    public required ImmutableArray<ResourcePropertySnapshot> Properties { get; init; }

    /// <summary>State; see <see cref="KnownResourceStates"/>.</summary>
    public ResourceStateSnapshot? State { get; init; }

    /// <summary>Exit code of the last process.</summary>
    public int? ExitCode { get; init; }

    /// <summary>When the process started, UTC.</summary>
    public DateTime? StartTimeStamp { get; init; }

    /// <summary>When the process ended, UTC.</summary>
    public DateTime? StopTimeStamp { get; init; }

    /// <summary>Where the resource can be reached.</summary>
    public ImmutableArray<UrlSnapshot> Urls { get; init; } = [];

    /// <summary>Latest result of each health check.</summary>
    public ImmutableArray<HealthReportSnapshot> HealthReports
    {
        get => _healthReports;
        init => _healthReports = value;
    }

    /// <summary>Set once the resource was ready; waits for its handlers.</summary>
    public EventSnapshot? ResourceReadyEvent { get; init; }

    /// <summary>Worst of the reports; null unless running; healthy if running without checks.</summary>
    public HealthStatus? HealthStatus => State?.Text != KnownResourceStates.Running ? null
        : _healthReports.IsEmpty ? Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Healthy
        : _healthReports.Min(report => report.Status ?? Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Unhealthy);
}

/// <summary>A state, and how to show it.</summary>
public sealed record ResourceStateSnapshot(string Text, string? Style)
{
    /// <summary>A state by its text.</summary>
    public static implicit operator ResourceStateSnapshot?(string? s) => s is null ? null : new(s, Style: null);
}

/// <summary>A fact about a resource.</summary>
public sealed record ResourcePropertySnapshot(string Name, object? Value);

/// <summary>A URL of a resource.</summary>
public sealed record UrlSnapshot(string? Name, string Url, bool IsInternal);

/// <summary>Result of a health check; <see cref="Status"/> is null until it has run.</summary>
public sealed record HealthReportSnapshot(string Name, HealthStatus? Status, string? Description, string? ExceptionText)
{
    /// <summary>When it ran, UTC.</summary>
    public DateTime? LastRunAt { get; init; }
}

/// <summary>An event whose handlers may still run.</summary>
public record EventSnapshot(Task EventTask);

/// <summary>Names of states.</summary>
public static class KnownResourceStates
{
    /// <summary>Gone, for good or bad; not started by a process.</summary>
    public static readonly string Hidden = nameof(Hidden);

    /// <summary>Its process is being made.</summary>
    public static readonly string Starting = nameof(Starting);

    /// <summary>It runs.</summary>
    public static readonly string Running = nameof(Running);

    /// <summary>It could not be started.</summary>
    public static readonly string FailedToStart = nameof(FailedToStart);

    /// <summary>It is being stopped.</summary>
    public static readonly string Stopping = nameof(Stopping);

    /// <summary>It ended with an exit code other than 0, or was ended.</summary>
    public static readonly string Exited = nameof(Exited);

    /// <summary>It ended with exit code 0.</summary>
    public static readonly string Finished = nameof(Finished);

    /// <summary>It waits for other resources.</summary>
    public static readonly string Waiting = nameof(Waiting);

    /// <summary>It waits for the start command.</summary>
    public static readonly string NotStarted = nameof(NotStarted);

    /// <summary>Nothing here can run it.</summary>
    public static readonly string RuntimeUnhealthy = nameof(RuntimeUnhealthy);

    /// <summary>Its value is missing.</summary>
    public static readonly string ValueMissing = nameof(ValueMissing);

    /// <summary>A value that is there.</summary>
    public static readonly string Active = nameof(Active);

    /// <summary>States in which it has ended.</summary>
    public static readonly IReadOnlyList<string> TerminalStates = [Finished, FailedToStart, Exited];
}
