using System.Text.Json.Serialization;

namespace DeepSeek.Devices;

/// <summary>Makers of devices that compute, as PCI names them.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<DeviceVendor>))]
public enum DeviceVendor
{
    /// <summary>Another one; see <see cref="ComputeDevice.VendorId"/>.</summary>
    Other = 0,
    /// <summary>The host's processors.</summary>
    Host = 1,
    /// <summary>0x10de.</summary>
    Nvidia = 2,
    /// <summary>0x1002.</summary>
    Amd = 3,
    /// <summary>0x19e5: Ascend.</summary>
    Huawei = 4,
    /// <summary>0x8086.</summary>
    Intel = 5,
}

/// <summary>The bus between a device and the host.</summary>
/// <param name="Speed">As the kernel words it, such as "32.0 GT/s PCIe".</param>
/// <param name="Width">Lanes.</param>
public sealed record DeviceLink(string Speed, int Width);

/// <summary>One device that computes, as this machine's kernel and drivers describe it; null is what they do not tell.</summary>
public sealed record ComputeDevice
{
    /// <summary>Name for people and for the engine: cpu, cuda:0, or the PCI address of a device that the engine cannot drive.</summary>
    public required string Id { get; init; }

    /// <summary>Maker.</summary>
    public required DeviceVendor Vendor { get; init; }

    /// <summary>Maker's number on the PCI bus, such as 0x10de.</summary>
    public string? VendorId { get; init; }

    /// <summary>Product.</summary>
    public required string Name { get; init; }

    /// <summary>Address on the PCI bus, such as 0000:81:00.0.</summary>
    public string? Address { get; init; }

    /// <summary>Driver's name and version.</summary>
    public string? Driver { get; init; }

    /// <summary>Bytes of its own memory (of the host's, for processors).</summary>
    public long? Memory { get; init; }

    /// <summary>Bytes not in use.</summary>
    public long? FreeMemory { get; init; }

    /// <summary>NVIDIA: compute capability, such as 9.0. AMD: target, such as gfx942. Processors: widest vectors, such as avx512.</summary>
    public string? Capability { get; init; }

    /// <summary>Cores of a processor.</summary>
    public int? Cores { get; init; }

    /// <summary>NUMA node the device hangs on.</summary>
    public int? NumaNode { get; init; }

    /// <summary>Its link to the host.</summary>
    public DeviceLink? Link { get; init; }

    /// <summary>Its ways to the other accelerators; empty for processors.</summary>
    public IReadOnlyList<PeerLink> Peers { get; init; } = [];

    /// <summary>Whether the engine can compute on it.</summary>
    public required bool Usable { get; init; }

    /// <summary>What the engine can run on it, or why nothing.</summary>
    public required string Runs { get; init; }

    /// <summary>What it was measured to do; null before it has been rated.</summary>
    public DeviceRating? Rating { get; init; }
}
