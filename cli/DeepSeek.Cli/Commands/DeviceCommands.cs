using System.CommandLine;
using DeepSeek.Devices;

namespace DeepSeek.Cli.Commands;

/// <summary><c>deepseek devices</c></summary>
internal static class DeviceCommands
{
    internal const string Name = "devices";

    public static void AddTo(Command root)
    {
        var vendor = new Option<DeviceVendor?>("--vendor") { Description = "Only devices of this maker: host, nvidia, amd, huawei, intel or other." };
        var devices = new Command(Name, "What can compute on this machine, and what the engine can run there.") { vendor };
        devices.Runs(context => context.Print.ListAsync(
            new DeviceManager().List(context.Arguments.GetValue(vendor)).ToAsyncEnumerable(),
            ("id", d => d.Id), ("name", d => d.Name), ("memory", d => d.Memory is { } bytes ? $"{bytes / (double)(1 << 30):F1} GiB" : null), ("capability", d => d.Capability),
            ("driver", d => d.Driver), ("link", d => d.Link is { } link ? $"{link.Speed} x{link.Width}" : null), ("runs", d => d.Runs)));
        root.Add(devices);
    }
}
