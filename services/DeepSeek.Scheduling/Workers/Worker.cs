namespace DeepSeek.Scheduling.Workers;

/// <summary>One process that takes jobs of one kind, as it last told.</summary>
public sealed class Worker
{
    public required string Id { get; init; }
    public required string Kind { get; init; }
    public int Slots { get; set; }
    public int Busy { get; set; }
    public required string Host { get; init; }
    public DateTimeOffset SeenAt { get; set; }

    /// <summary>Floating-point operations a second of its best rated device; null where none was rated.</summary>
    public double? Rating { get; set; }

    /// <summary>Its machine's rated devices (<see cref="Contracts.Devices.RatedDevice"/>), JSON; null where it told of none.</summary>
    public string? Devices { get; set; }
}
