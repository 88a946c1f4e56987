using System.Text.Json.Serialization;

namespace DeepSeek.Engine.Profiling;

/// <summary>What the device did; numbered as trace.h numbers them.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<DeviceWorkKind>))]
public enum DeviceWorkKind
{
    /// <summary>Ran a kernel.</summary>
    Kernel = 0,
    /// <summary>Copied.</summary>
    Copy = 1,
    /// <summary>Filled memory.</summary>
    Fill = 2,
}

/// <summary>A piece of the device's work; times in nanoseconds since the trace began.</summary>
public sealed record TraceKernel
{
    /// <summary>What it is.</summary>
    public required DeviceWorkKind Kind { get; init; }

    /// <summary>Kernel, or the direction of a copy.</summary>
    public required string Name { get; init; }

    /// <summary>When the device began with it.</summary>
    public required double Begin { get; init; }

    /// <summary>When it was done.</summary>
    public required double End { get; init; }

    /// <summary>Index of the innermost event that asked for it; -1 for none.</summary>
    public int Event { get; init; } = -1;

    /// <summary>Queue of the device, as its driver numbers them.</summary>
    public int Stream { get; init; }

    /// <summary>Whether it is part of a replayed graph.</summary>
    public bool Replayed { get; init; }

    /// <summary>Bytes of a copy or fill.</summary>
    public long Bytes { get; init; }

    /// <summary>Launch facts of a kernel.</summary>
    public KernelLaunch? Launch { get; init; }

    /// <summary>Nanoseconds on the device.</summary>
    [JsonIgnore]
    public double Time => End - Begin;
}

/// <summary>All runs of a kernel; seconds.</summary>
/// <param name="Name">As the compiler calls it.</param>
/// <param name="Kind">Kernel, copy or fill.</param>
/// <param name="Calls">Runs.</param>
/// <param name="Time">On the device.</param>
/// <param name="Share">Of all work of the device.</param>
/// <param name="Occupancy">Theoretical: warps that fit at once over the most a multiprocessor holds, by registers, shared memory and threads; averaged over time. Null for copies.</param>
/// <param name="Waves">How many times its grid fills the device, averaged over time.</param>
/// <param name="Registers">Of a thread, the most.</param>
/// <param name="SharedMemory">Bytes of a block, the most.</param>
/// <param name="Replayed">Runs out of a replayed graph.</param>
/// <param name="Operators">What asked for it, by falling time, at most three.</param>
public sealed record KernelStats(
    string Name, DeviceWorkKind Kind, int Calls, double Time, double Share, double? Occupancy, double? Waves, int Registers, int SharedMemory, int Replayed, IReadOnlyList<string> Operators)
{
    internal static IReadOnlyList<KernelStats> Of(IReadOnlyList<TraceKernel> kernels, IReadOnlyList<TraceEvent> events, MultiprocessorLimits? limits)
    {
        var all = Math.Max(1, kernels.Sum(k => k.Time));
        return
        [
            .. kernels.GroupBy(k => (k.Name, k.Kind)).Select(g => new KernelStats(g.Key.Name, g.Key.Kind, g.Count(), g.Sum(k => k.Time) * 1e-9, g.Sum(k => k.Time) / all,
                Average(g, l => limits?.Occupancy(l)), Average(g, l => limits?.Waves(l)), g.Max(k => k.Launch?.Registers ?? 0), g.Max(k => k.Launch?.SharedMemory ?? 0), g.Count(k => k.Replayed),
                [.. g.Where(k => k.Event >= 0).GroupBy(k => events[k.Event].Name).OrderByDescending(o => o.Sum(k => k.Time)).Take(3).Select(o => o.Key)]))
                .OrderByDescending(k => k.Time),
        ];
    }

    /// <summary>Weighted by time; null where nothing is known.</summary>
    internal static double? Average(IEnumerable<TraceKernel> kernels, Func<KernelLaunch, double?> value)
    {
        var (sum, weight) = (0.0, 0.0);
        foreach (var kernel in kernels)
        {
            if (kernel.Launch is { } launch && value(launch) is { } number)
            {
                sum += number * kernel.Time;
                weight += kernel.Time;
            }
        }
        return weight > 0 ? sum / weight : null;
    }
}
