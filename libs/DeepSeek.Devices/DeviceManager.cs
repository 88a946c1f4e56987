using System.Globalization;

namespace DeepSeek.Devices;

/// <summary>
/// Lists what can compute on this machine from the kernel's and the drivers' own files, without loading any of their libraries
/// but NVIDIA's management library where it is installed. A device that the engine has no backend for is listed and said to be so.
/// </summary>
/// <param name="root">Root of the file system to read; another one than "/" is for tests and for images of other machines.</param>
/// <param name="nvidia">Facts that only NVIDIA's library tells, by PCI address; null asks the library.</param>
public sealed class DeviceManager(string root = "/", Func<string, NvidiaFacts?>? nvidia = null)
{
    private const string DisplayClass = "0x03";
    private const string AcceleratorClass = "0x12";
    private readonly Func<string, NvidiaFacts?> _nvidia = nvidia ?? NvidiaLibrary.Find;

    /// <summary>The processors, then the accelerators in order of their PCI address.</summary>
    /// <param name="vendor">Only devices of this maker; null lists all.</param>
    public IReadOnlyList<ComputeDevice> List(DeviceVendor? vendor = null)
    {
        var devices = new List<ComputeDevice> { Host() };
        var cuda = 0;
        foreach (var folder in Folders("sys/bus/pci/devices"))
        {
            var kind = Text(folder, "class") ?? "";
            if (!kind.StartsWith(DisplayClass, StringComparison.Ordinal) && !kind.StartsWith(AcceleratorClass, StringComparison.Ordinal))
            {
                continue;
            }
            var device = Accelerator(folder);
            devices.Add(device is { Vendor: DeviceVendor.Nvidia, Usable: true } ? device with { Id = string.Create(CultureInfo.InvariantCulture, $"cuda:{cuda++}") } : device);
        }
        return [.. new DeviceTopology(root, _nvidia).Join(devices).Where(d => vendor is null || d.Vendor == vendor)];
    }

    private ComputeDevice Host()
    {
        var lines = File.Exists(At("proc/cpuinfo")) ? File.ReadAllLines(At("proc/cpuinfo")) : [];
        var flags = Value(lines, "flags")?.Split(' ') ?? [];
        var memory = File.Exists(At("proc/meminfo")) ? File.ReadAllLines(At("proc/meminfo")) : [];
        return new ComputeDevice
        {
            Id = "cpu",
            Vendor = DeviceVendor.Host,
            Name = Value(lines, "model name") ?? "processor",
            Memory = Kibibytes(memory, "MemTotal"),
            FreeMemory = Kibibytes(memory, "MemAvailable"),
            Cores = lines.Count(l => l.StartsWith("processor", StringComparison.Ordinal)),
            Capability = flags.Contains("amx_bf16") ? "avx512, amx" : flags.Contains("avx512f") ? "avx512" : flags.Contains("avx2") ? "avx2" : null,
            Usable = true,
            Runs = "training and inference: float32, bfloat16",
        };
    }

    private ComputeDevice Accelerator(string folder)
    {
        var address = Path.GetFileName(folder);
        var (vendorId, deviceId) = (Text(folder, "vendor") ?? "", Text(folder, "device") ?? "");
        var device = new ComputeDevice
        {
            Id = address,
            Vendor = vendorId switch
            {
                "0x10de" => DeviceVendor.Nvidia,
                "0x1002" => DeviceVendor.Amd,
                "0x19e5" => DeviceVendor.Huawei,
                "0x8086" => DeviceVendor.Intel,
                _ => DeviceVendor.Other,
            },
            VendorId = vendorId,
            Name = $"{vendorId[Math.Min(2, vendorId.Length)..]}:{deviceId[Math.Min(2, deviceId.Length)..]}",
            Address = address,
            NumaNode = int.TryParse(Text(folder, "numa_node"), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var node) && node >= 0 ? node : null,
            Link = Text(folder, "current_link_speed") is { } speed && int.TryParse(Text(folder, "current_link_width"), CultureInfo.InvariantCulture, out var width) ? new DeviceLink(speed, width) : null,
            Usable = false,
            Runs = "nothing: the engine has no backend for this device",
        };
        return device.Vendor switch
        {
            DeviceVendor.Nvidia => Nvidia(device),
            DeviceVendor.Amd => Amd(device, folder),
            DeviceVendor.Huawei => Ascend(device, deviceId),
            _ => device with { Driver = Driver(folder) },
        };
    }

    private ComputeDevice Nvidia(ComputeDevice device)
    {
        var version = Text(At("proc/driver/nvidia"), "version");
        if (version is null)
        {
            return device with { Runs = "nothing: NVIDIA's kernel driver is not loaded" };
        }
        var words = version.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        var information = At($"proc/driver/nvidia/gpus/{device.Address}/information");
        var facts = _nvidia(device.Address!);
        var usable = facts is null || facts.Capability >= new Version(7, 0);
        return device with
        {
            Name = (File.Exists(information) ? Value(File.ReadAllLines(information), "Model") : null) ?? facts?.Name ?? device.Name,
            Driver = $"nvidia {words.FirstOrDefault(w => w.Contains('.') && char.IsAsciiDigit(w[0])) ?? "unknown"}",
            Memory = facts?.Memory,
            FreeMemory = facts?.FreeMemory,
            Capability = facts?.Capability.ToString(),
            Usable = usable,
            Runs = !usable ? "nothing: its compute capability is under 7.0"
                : facts is null ? "training and inference, with a native library built with CUDA"
                : $"training and inference, with a native library built with CUDA: float32{(facts.Capability.Major >= 8 ? ", tf32, bfloat16" : "")}, float16{(facts.Capability >= new Version(8, 9) ? ", fp8" : "")}",
        };
    }

    private ComputeDevice Amd(ComputeDevice device, string folder)
    {
        var target = Folders("sys/class/kfd/kfd/topology/nodes").Select(n => Text(n, "properties")?.Split('\n')).Where(p => p is not null)
            .Where(p => Property(p!, "location_id") == DeviceTopology.Location(device.Address!)).Select(p => Property(p!, "gfx_target_version")).FirstOrDefault(v => v > 0);
        return device with
        {
            Name = Text(folder, "product_name") ?? device.Name,
            Driver = Text(At("sys/module/amdgpu"), "version") is { } version ? $"amdgpu {version}" : Driver(folder),
            Memory = Number(folder, "mem_info_vram_total"),
            FreeMemory = Number(folder, "mem_info_vram_total") - Number(folder, "mem_info_vram_used"),
            // 90402 is gfx942: major, minor and step, the last in hexadecimal.
            Capability = target > 0 ? string.Create(CultureInfo.InvariantCulture, $"gfx{target / 10000}{target / 100 % 100}{target % 100:x}") : null,
        };
    }

    private ComputeDevice Ascend(ComputeDevice device, string deviceId)
    {
        var file = At("usr/local/Ascend/driver/version.info");
        return device with
        {
            Name = deviceId switch { "0xd100" => "Ascend 310", "0xd500" => "Ascend 310P", "0xd801" => "Ascend 910", "0xd802" => "Ascend 910B", _ => device.Name },
            Driver = File.Exists(file) && File.ReadLines(file).FirstOrDefault(l => l.StartsWith("Version=", StringComparison.OrdinalIgnoreCase)) is { } line ? $"ascend {line[8..].Trim()}" : null,
        };
    }

    private string? Driver(string folder) => new DirectoryInfo(Path.Combine(folder, "driver")) is { Exists: true } link ? link.ResolveLinkTarget(true)?.Name ?? link.Name : null;

    private string At(string path) => Path.Combine(root, path);

    private string[] Folders(string path) => Directory.Exists(At(path)) ? [.. Directory.GetDirectories(At(path)).Order(StringComparer.Ordinal)] : [];

    private static string? Text(string folder, string file)
    {
        var path = Path.Combine(folder, file);
        try
        {
            return File.Exists(path) && File.ReadAllText(path).Trim() is { Length: > 0 } text ? text : null;
        }
        catch (IOException)
        {
            return null; // files of sysfs may refuse to be read while a device sleeps
        }
    }

    private static long? Number(string folder, string file) => long.TryParse(Text(folder, file), CultureInfo.InvariantCulture, out var number) ? number : null;

    private static string? Value(IEnumerable<string> lines, string key) =>
        lines.FirstOrDefault(l => l.StartsWith(key, StringComparison.Ordinal) && l.Contains(':')) is { } line ? line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() : null;

    private static long? Kibibytes(IEnumerable<string> lines, string key) =>
        Value(lines, key)?.Split(' ') is [var number, ..] && long.TryParse(number, CultureInfo.InvariantCulture, out var kibibytes) ? kibibytes * 1024 : null;

    private static long Property(IEnumerable<string> lines, string key) =>
        lines.FirstOrDefault(l => l.StartsWith(key + " ", StringComparison.Ordinal)) is { } line && long.TryParse(line.AsSpan(key.Length), CultureInfo.InvariantCulture, out var number) ? number : 0;
}
