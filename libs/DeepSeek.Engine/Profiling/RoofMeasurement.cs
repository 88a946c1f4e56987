using DeepSeek.Devices;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Profiling;

/// <summary>The roof of a device: from its rating where there is one for this hardware and these threads, else measured now.</summary>
internal static class RoofMeasurement
{
    internal static DeviceCeilings Of(Device device, IReadOnlyList<TraceEvent> events)
    {
        var rating = new DeviceManager().List().FirstOrDefault(d => d.Id == device.ToString()) is { } hardware ? new DeviceRatings().Find(hardware) : null;
        if (rating is not null && (device.IsCuda || rating.Threads == EngineRuntime.Threads))
        {
            return DeviceBenchmark.Roof(rating);
        }
        return new DeviceBenchmark(device).Roof([.. events.Select(e => e.Signature?.TypeName).OfType<string>().Distinct()]);
    }
}
