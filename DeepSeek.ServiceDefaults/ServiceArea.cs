namespace DeepSeek.ServiceDefaults;

/// <summary>The service this process is: <c>registry</c>, <c>training</c>, …</summary>
public sealed record ServiceArea(string Name)
{
    /// <summary>Name of the service's ActivitySource and Meter: <c>DeepSeek.Registry</c>.</summary>
    public string TelemetryName { get; } = "DeepSeek." + char.ToUpperInvariant(Name[0]) + Name[1..];
}
