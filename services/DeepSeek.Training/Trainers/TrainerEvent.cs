using System.Text.Json;
using DeepSeek.ServiceDefaults;
using DeepSeek.Training.Runs;

namespace DeepSeek.Training.Trainers;

/// <summary>One line that the trainer wrote: <c>compute</c>, <c>memory</c>, <c>started</c>, <c>progress</c>, <c>checkpoint</c>, <c>usage</c>, <c>warning</c>, <c>error</c> or <c>done</c>.</summary>
public sealed record TrainerEvent
{
    public string Event { get; init; } = "";
    public int Epoch { get; init; }
    public int Epochs { get; init; }
    public long Step { get; init; }
    public long ResumedFromStep { get; init; }
    public double? Loss { get; init; }
    public double Progress { get; init; }

    /// <summary>Of training steps since the last line; for text.</summary>
    public double? TokensPerSecond { get; init; }
    public string? Message { get; init; }
    public IReadOnlyDictionary<string, double>? Metrics { get; init; }
    public string? Device { get; init; }
    public string? DeviceName { get; init; }
    public string? Precision { get; init; }
    public IReadOnlyList<TrainerPhase>? Phases { get; init; }
    public bool Captured { get; init; }
    public IReadOnlyList<string>? Recomputed { get; init; }
    public IReadOnlyList<string>? Reasons { get; init; }

    /// <summary>At the end of training.</summary>
    public RunUsage? Usage { get; init; }

    /// <summary>Most bytes in tensors in each part of the first step.</summary>
    public sealed record TrainerPhase(string Name, long Peak);

    /// <summary>Null for a line that is none of ours, as a library may print.</summary>
    public static TrainerEvent? Parse(string line)
    {
        if (!line.StartsWith('{'))
        {
            return null;
        }
        try
        {
            return JsonSerializer.Deserialize<TrainerEvent>(line, PlatformJson.Options);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
