using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace DeepSeek.Devices;

/// <summary>What NVIDIA's management library tells of one GPU.</summary>
/// <param name="Name">Product.</param>
/// <param name="Capability">Compute capability.</param>
/// <param name="Memory">Bytes.</param>
/// <param name="FreeMemory">Bytes.</param>
/// <param name="Millijoules">Energy drawn since the driver was loaded; null where it is not counted.</param>
/// <param name="NvLinks">PCI address at the other end of each link in use, a card's or a switch's; null without any.</param>
public sealed record NvidiaFacts(string Name, Version Capability, long Memory, long FreeMemory, long? Millijoules, IReadOnlyList<string>? NvLinks = null);

/// <summary>The few calls of libnvidia-ml that are needed, found at run time: machines without the driver have no such file.</summary>
public sealed unsafe class NvidiaLibrary
{
    private static readonly Lazy<NvidiaLibrary?> s_installed = new(() => Open("libnvidia-ml.so.1"));
    private const uint MostLinks = 18;
    private const int PciInfoSize = 128; // 68 bytes, and room for more
    private readonly nint _library;

    private NvidiaLibrary(nint library) => _library = library;

    /// <summary>Facts of the GPU at a PCI address such as 0000:81:00.0, or null without the library or the GPU.</summary>
    public static NvidiaFacts? Find(string address) => s_installed.Value?.FactsOf(address);

    /// <summary>Opens a library by file or name; null where it is not, or has no driver to talk to.</summary>
    public static NvidiaLibrary? Open(string file) =>
        NativeLibrary.TryLoad(file, out var library) && ((delegate* unmanaged<int>)NativeLibrary.GetExport(library, "nvmlInit_v2"))() == 0 ? new NvidiaLibrary(library) : null;

    /// <summary>Facts of the GPU at a PCI address; null when there is no such GPU.</summary>
    public NvidiaFacts? FactsOf(string address)
    {
        nint device;
        fixed (byte* text = Encoding.ASCII.GetBytes(address + "\0"))
        {
            if (((delegate* unmanaged<byte*, nint*, int>)Export("nvmlDeviceGetHandleByPciBusId_v2"))(text, &device) != 0)
            {
                return null;
            }
        }
        const int length = 96;
        var name = stackalloc byte[length];
        var memory = stackalloc ulong[3]; // total, free, used
        int major = 0, minor = 0;
        ulong energy = 0;
        var known = ((delegate* unmanaged<nint, byte*, uint, int>)Export("nvmlDeviceGetName"))(device, name, length) == 0
            && ((delegate* unmanaged<nint, ulong*, int>)Export("nvmlDeviceGetMemoryInfo"))(device, memory) == 0
            && ((delegate* unmanaged<nint, int*, int*, int>)Export("nvmlDeviceGetCudaComputeCapability"))(device, &major, &minor) == 0;
        if (!known)
        {
            return null;
        }
        var counted = ((delegate* unmanaged<nint, ulong*, int>)Export("nvmlDeviceGetTotalEnergyConsumption"))(device, &energy) == 0;
        return new NvidiaFacts(Marshal.PtrToStringUTF8((nint)name) ?? "", new Version(major, minor), (long)memory[0], (long)memory[1], counted ? (long)energy : null, Links(device));
    }

    // Older libraries lack the calls; a card without NVLink refuses them.
    private List<string>? Links(nint device)
    {
        if (!NativeLibrary.TryGetExport(_library, "nvmlDeviceGetNvLinkState", out var state) || !NativeLibrary.TryGetExport(_library, "nvmlDeviceGetNvLinkRemotePciInfo_v2", out var remote))
        {
            return null;
        }
        var ends = new List<string>();
        var info = stackalloc byte[PciInfoSize];
        for (var link = 0u; link < MostLinks; link++)
        {
            var active = 0u;
            if (((delegate* unmanaged<nint, uint, uint*, int>)state)(device, link, &active) == 0 && active != 0
                && ((delegate* unmanaged<nint, uint, byte*, int>)remote)(device, link, info) == 0)
            {
                // nvmlPciInfo_t: busIdLegacy[16], domain, bus, device, ids.
                var place = (uint*)(info + 16);
                ends.Add(string.Create(CultureInfo.InvariantCulture, $"{place[0]:x4}:{place[1]:x2}:{place[2]:x2}.0"));
            }
        }
        return ends.Count > 0 ? ends : null;
    }

    private nint Export(string name) => NativeLibrary.GetExport(_library, name);
}
