namespace DeepSeek.Engine.Profiling;

/// <summary>What a device can do at best, as measured: the roof that operators are held against.</summary>
public sealed record DeviceCeilings
{
    /// <summary>Operations a second of a large matrix product, by element type such as float32.</summary>
    public required IReadOnlyDictionary<string, double> FlopRates { get; init; }

    /// <summary>Bytes a second, reads and writes together, of a copy larger than the caches.</summary>
    public required double Bandwidth { get; init; }

    /// <summary>Seconds that calling an operator takes when it has next to nothing to do.</summary>
    public required double CallSeconds { get; init; }

    /// <summary>Where the numbers come from: a rating and its date, or a measurement of now.</summary>
    public required string Source { get; init; }

    /// <summary>Operations a second for an element type; null for one that was not measured.</summary>
    public double? FlopRate(string? type) => type is not null && FlopRates.TryGetValue(type, out var rate) ? rate : null;

    /// <summary>Least seconds for some work (Williams et al., "Roofline", CACM 52(4), 2009); null when nothing of it is known.</summary>
    public double? RoofSeconds(Work work, string? type)
    {
        var compute = work.Flops / FlopRate(type);
        var memory = work.Bytes / Bandwidth;
        return compute is null ? memory : memory is null ? compute : Math.Max(compute.Value, memory.Value);
    }

    /// <summary>Whether arithmetic, not memory, sets the least time.</summary>
    public bool IsArithmetic(Work work, string? type) => work.Flops / FlopRate(type) is { } compute && compute >= (work.Bytes ?? 0) / Bandwidth;
}
