using System.Globalization;
using System.Text.Json.Serialization;

namespace DeepSeek.Devices;

/// <summary>What the traffic between two accelerators passes, the fastest first.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<PeerPath>))]
public enum PeerPath
{
    /// <summary>NVIDIA's links, from card to card or through a switch of theirs.</summary>
    NvLink = 1,
    /// <summary>AMD's links from card to card.</summary>
    Xgmi = 2,
    /// <summary>A PCIe switch or port that both hang on; the processor sees nothing of it.</summary>
    PciSwitch = 3,
    /// <summary>The processor's PCIe root that both hang on.</summary>
    HostBridge = 4,
    /// <summary>Several PCIe roots of one NUMA node.</summary>
    NumaNode = 5,
    /// <summary>The link between NUMA nodes, or what the kernel does not tell.</summary>
    System = 6,
}

/// <summary>The way from one accelerator to another.</summary>
/// <param name="To">The other's <see cref="ComputeDevice.Id"/>.</param>
/// <param name="Path">What lies between them.</param>
/// <param name="Links">NVLinks in use for it, counted by the management library; null where links are not counted.</param>
public sealed record PeerLink(string To, PeerPath Path, int? Links = null)
{
    /// <summary>Such as "cuda:1 NvLink x18".</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{To} {Path}{(Links is { } links ? $" x{links}" : "")}");
}

/// <summary>Finds how accelerators hang together, from the kernel's tree of PCI devices, AMD's compute topology and NVIDIA's library.</summary>
/// <param name="root">Root of the file system to read.</param>
/// <param name="nvidia">NVIDIA's facts by PCI address.</param>
internal sealed class DeviceTopology(string root, Func<string, NvidiaFacts?> nvidia)
{
    private const string XgmiLink = "11"; // HSA_IOLINKTYPE_XGMI of the kernel's kfd interface

    /// <summary>The devices with their ways to one another.</summary>
    internal IEnumerable<ComputeDevice> Join(IReadOnlyList<ComputeDevice> devices)
    {
        var xgmi = XgmiPairs();
        var links = devices.Where(d => d.Vendor == DeviceVendor.Nvidia).ToDictionary(d => d.Address!, d => nvidia(d.Address!)?.NvLinks ?? []);
        return devices.Select(d => d.Address is null ? d : d with { Peers = [.. devices.Where(o => o.Address is not null && o != d).Select(o => Between(d, o, links, xgmi))] });
    }

    private PeerLink Between(ComputeDevice from, ComputeDevice to, Dictionary<string, IReadOnlyList<string>> links, HashSet<(long, long)> xgmi)
    {
        if (links.TryGetValue(from.Address!, out var mine) && links.TryGetValue(to.Address!, out var theirs))
        {
            var direct = mine.Count(a => a == to.Address);
            // A switch is on the other end of both cards' links.
            var switched = mine.Count(a => !links.ContainsKey(a) && theirs.Contains(a));
            if (direct + switched > 0)
            {
                return new PeerLink(to.Id, PeerPath.NvLink, direct + switched);
            }
        }
        if (xgmi.Contains((Location(from.Address!), Location(to.Address!))))
        {
            return new PeerLink(to.Id, PeerPath.Xgmi);
        }
        var (a, b) = (Way(from.Address!), Way(to.Address!));
        var common = a.Zip(b).TakeWhile(p => p.First == p.Second).Count();
        return new PeerLink(to.Id, common > 1 ? PeerPath.PciSwitch : common == 1 ? PeerPath.HostBridge
            : from.NumaNode is { } node && node == to.NumaNode ? PeerPath.NumaNode : PeerPath.System);
    }

    // From the root complex to the device, such as pci0000:80, 0000:80:01.0, 0000:81:00.0; empty where the kernel shows no tree.
    private string[] Way(string address)
    {
        var folder = new DirectoryInfo(Path.Combine(root, "sys/bus/pci/devices", address));
        var parts = (folder.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? "").Split('/');
        return [.. parts.SkipWhile(p => !p.StartsWith("pci", StringComparison.Ordinal))];
    }

    private HashSet<(long, long)> XgmiPairs()
    {
        var nodes = Path.Combine(root, "sys/class/kfd/kfd/topology/nodes");
        if (!Directory.Exists(nodes))
        {
            return [];
        }
        var locations = Directory.GetDirectories(nodes).ToDictionary(n => Path.GetFileName(n), n => long.Parse(Property(n, "location_id") ?? "0", CultureInfo.InvariantCulture));
        return [.. Directory.GetDirectories(nodes).Select(n => Path.Combine(n, "io_links")).Where(Directory.Exists).SelectMany(Directory.GetDirectories)
            .Where(l => Property(l, "type") == XgmiLink)
            .Select(l => (locations.GetValueOrDefault(Property(l, "node_from") ?? ""), locations.GetValueOrDefault(Property(l, "node_to") ?? "")))];
    }

    private static string? Property(string folder, string key)
    {
        var file = Path.Combine(folder, "properties");
        return File.Exists(file) && File.ReadLines(file).FirstOrDefault(l => l.StartsWith(key + " ", StringComparison.Ordinal)) is { } line ? line[(key.Length + 1)..].Trim() : null;
    }

    /// <summary>bus &lt;&lt; 8 | device &lt;&lt; 3 | function, as the kernel's compute driver numbers PCI devices.</summary>
    internal static long Location(string address)
    {
        var parts = address.Split(':', '.');
        return parts is [_, var bus, var slot, var function] ? (Hex(bus) << 8) | (Hex(slot) << 3) | Hex(function) : -1;
    }

    private static long Hex(string text) => long.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
