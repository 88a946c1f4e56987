namespace DeepSeek.Devices;

/// <summary>Energy drawn over a window.</summary>
/// <param name="Joules">Of the whole device, whoever used it.</param>
/// <param name="Seconds">Length of the window.</param>
public sealed record EnergyReading(double Joules, double Seconds)
{
    /// <summary>Mean power in watts.</summary>
    public double Watts => Joules / Seconds;
}

/// <summary>
/// Reads a device's own energy counter (NVML's total energy consumption) over a window. The counter moves in steps of tens of milliseconds and counts
/// what idle parts draw too, so a window under <see cref="Shortest"/> gives no reading. Clocks and power limits are left alone.
/// </summary>
/// <param name="millijoules">The counter; null where there is none.</param>
/// <param name="clock">Time of the window.</param>
public sealed class EnergyMeter(Func<long?> millijoules, TimeProvider clock)
{
    private readonly long? _from = millijoules();
    private readonly long _start = clock.GetTimestamp();

    /// <summary>The shortest window that is told.</summary>
    public static TimeSpan Shortest { get; } = TimeSpan.FromSeconds(30);

    /// <summary>A meter of the GPU with this id, such as cuda:0, from now on.</summary>
    public static EnergyMeter Of(string device, TimeProvider clock)
    {
        var address = device.StartsWith("cuda", StringComparison.Ordinal) ? new DeviceManager().List(DeviceVendor.Nvidia).FirstOrDefault(d => d.Id == device)?.Address : null;
        return new EnergyMeter(() => address is null ? null : NvidiaLibrary.Find(address)?.Millijoules, clock);
    }

    /// <summary>What was drawn since the meter was made; null without a counter, in a window too short, or when the counter went back (the driver was loaded anew).</summary>
    public EnergyReading? Read()
    {
        var window = clock.GetElapsedTime(_start);
        return window >= Shortest && _from is { } from && millijoules() is { } to && to >= from ? new EnergyReading((to - from) / 1000.0, window.TotalSeconds) : null;
    }
}
