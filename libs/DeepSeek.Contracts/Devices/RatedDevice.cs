namespace DeepSeek.Contracts.Devices;

/// <summary>A device of a worker's machine and what <c>deepseek devices --rate</c> measured it to do.</summary>
public sealed record RatedDevice
{
    /// <summary>The machine's name for it: cpu or cuda:0.</summary>
    public required string Device { get; init; }

    /// <summary>Product.</summary>
    public required string Name { get; init; }

    /// <summary>Most floating-point operations a second, by element type such as float32.</summary>
    public required IReadOnlyDictionary<string, double> FlopRates { get; init; }

    /// <summary>Most bytes a second, reads and writes together.</summary>
    public required double Bandwidth { get; init; }

    /// <summary>Seconds that calling an operator takes when it has next to nothing to do.</summary>
    public required double CallSeconds { get; init; }

    /// <summary>Bytes of its own memory (of the host's, for processors); null when unknown.</summary>
    public long? Memory { get; init; }
}

/// <summary>A rated device and the machine it is in.</summary>
/// <param name="Host">The machine.</param>
/// <param name="Device">The device.</param>
public sealed record KnownDevice(string Host, RatedDevice Device);
