using System.CommandLine;
using System.Globalization;
using DeepSeek.Devices;
using DeepSeek.Engine;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek devices</c></summary>
internal static class DeviceCommands
{
    internal const string Name = "devices";

    public static void AddTo(Command root)
    {
        var vendor = new Option<DeviceVendor?>("--vendor") { Description = "Only devices of this maker: host, nvidia, amd, huawei, intel or other." };
        var rate = new Option<bool>("--rate") { Description = "Measure first what the engine reaches on each device it can drive: matrix products, convolution, attention, copies. Kept for later." };
        var devices = new Command(Name, "What can compute on this machine, what the engine can run there, and how fast.") { vendor, rate };
        devices.Runs(context =>
        {
            var ratings = new DeviceRatings();
            var list = new DeviceManager().List(context.Arguments.GetValue(vendor));
            foreach (var device in context.Arguments.GetValue(rate) ? list.Where(d => d.Usable) : [])
            {
                context.Cancelled.ThrowIfCancellationRequested();
                Rate(device, ratings);
            }
            return context.Print.ListAsync(
                list.Select(d => d with { Rating = ratings.Find(d) }).ToAsyncEnumerable(),
                ("id", d => d.Id), ("name", d => d.Name), ("memory", d => d.Memory is { } bytes ? $"{bytes / (double)(1 << 30):F1} GiB" : null), ("capability", d => d.Capability),
                ("driver", d => d.Driver), ("link", d => d.Link is { } link ? $"{link.Speed} x{link.Width}" : null), ("peers", d => d.Peers.Count > 0 ? string.Join(", ", d.Peers) : null), ("runs", d => d.Runs),
                ("training", d => Rate(d.Rating?.Training)), ("inference", d => Rate(d.Rating?.Inference)), ("rated", d => d.Rating?.At.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)));
        });
        root.Add(devices);
    }

    private static void Rate(ComputeDevice device, DeviceRatings ratings)
    {
        try
        {
            // A GPU needs a native library built with CUDA too.
            var chosen = Device.Parse(device.Id);
            if (!chosen.IsCuda || chosen.Index < EngineRuntime.CudaDevices)
            {
                ratings.Save(new DeviceBenchmark(chosen).Rate(device, DateTimeOffset.UtcNow));
            }
        }
        catch (Exception fault) when (fault is DllNotFoundException or NativeException or IOException or UnauthorizedAccessException)
        {
            throw new CommandFailedException($"{device.Id} could not be rated: {fault.Message}");
        }
    }

    private static string? Rate(double? flops) => flops is { } rate ? string.Create(CultureInfo.InvariantCulture, $"{rate * 1e-9:F0} GFLOP/s") : null;
}
