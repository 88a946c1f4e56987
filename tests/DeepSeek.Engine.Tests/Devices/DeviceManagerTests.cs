using DeepSeek.Devices;

namespace DeepSeek.Engine.Tests.Devices;

public sealed class DeviceManagerTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("devices-").FullName;

    public DeviceManagerTests()
    {
        Put("proc/cpuinfo", "processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu avx2 avx512f\nprocessor\t: 1\nmodel name\t: Test CPU\n");
        Put("proc/meminfo", "MemTotal:       1024 kB\nMemAvailable:    512 kB\n");
        Pci("0000:00:02.0", "0x060400", "0x8086", "0x1234"); // a bridge: no device that computes
    }

    [Fact]
    public void List_MachineWithoutAccelerators_GivesTheProcessors()
    {
        var cpu = Assert.Single(new DeviceManager(_root).List());
        Assert.Equal(("cpu", "Test CPU", 2, "avx512", 1024L * 1024, 512L * 1024), (cpu.Id, cpu.Name, cpu.Cores, cpu.Capability, cpu.Memory, cpu.FreeMemory));
        Assert.True(cpu.Usable);
    }

    [Fact]
    public void List_NvidiaWithDriver_IsUsableAndNumbered()
    {
        Put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build\nGCC version: 12\n");
        foreach (var address in (string[])["0000:81:00.0", "0000:c1:00.0"])
        {
            Pci(address, "0x030200", "0x10de", "0x2330", ("numa_node", "1"), ("current_link_speed", "32.0 GT/s PCIe"), ("current_link_width", "16"));
            Put($"proc/driver/nvidia/gpus/{address}/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 12\n");
        }
        var facts = new NvidiaFacts("NVIDIA H100", new Version(9, 0), 80L << 30, 79L << 30, null);
        var devices = new DeviceManager(_root, address => address.StartsWith("0000:81", StringComparison.Ordinal) ? facts : facts with { Capability = new Version(6, 1) }).List(DeviceVendor.Nvidia);
        Assert.Equal(["cuda:0", "0000:c1:00.0"], devices.Select(d => d.Id));
        Assert.Equal(("NVIDIA H100 80GB HBM3", "nvidia 580.159.04", "9.0", 80L << 30), (devices[0].Name, devices[0].Driver, devices[0].Capability, devices[0].Memory));
        Assert.Equal((1, new DeviceLink("32.0 GT/s PCIe", 16)), (devices[0].NumaNode, devices[0].Link));
        Assert.Contains("fp8", devices[0].Runs, StringComparison.Ordinal);
        Assert.False(devices[1].Usable);
        Assert.Contains("under 7.0", devices[1].Runs, StringComparison.Ordinal);
    }

    [Fact]
    public void List_NvidiaWithoutDriver_SaysSo()
    {
        Pci("0000:81:00.0", "0x030200", "0x10de", "0x2330");
        var device = Assert.Single(new DeviceManager(_root, _ => null).List(DeviceVendor.Nvidia));
        Assert.Equal(("0000:81:00.0", "10de:2330", false), (device.Id, device.Name, device.Usable));
        Assert.Contains("driver is not loaded", device.Runs, StringComparison.Ordinal);
    }

    [Fact]
    public void List_AmdAscendAndUnknown_AreListedAndNotFaked()
    {
        Pci("0000:03:00.0", "0x038000", "0x1002", "0x74a1", ("product_name", "MI300X"), ("mem_info_vram_total", "1000"), ("mem_info_vram_used", "400"));
        Put("sys/module/amdgpu/version", "6.8.5\n");
        Put("sys/class/kfd/kfd/topology/nodes/1/properties", "simd_count 304\nlocation_id 768\ngfx_target_version 90402\n");
        Pci("0000:04:00.0", "0x120000", "0x19e5", "0xd802");
        Put("usr/local/Ascend/driver/version.info", "Version=24.1.rc2\n");
        Pci("0000:05:00.0", "0x120000", "0x1e52", "0xfaca");
        var devices = new DeviceManager(_root).List();
        Assert.Equal([DeviceVendor.Host, DeviceVendor.Amd, DeviceVendor.Huawei, DeviceVendor.Other], devices.Select(d => d.Vendor));
        Assert.Equal(("MI300X", "amdgpu 6.8.5", "gfx942", 600L), (devices[1].Name, devices[1].Driver, devices[1].Capability, devices[1].FreeMemory));
        Assert.Equal(("Ascend 910B", "ascend 24.1.rc2"), (devices[2].Name, devices[2].Driver));
        Assert.Equal("1e52:faca", devices[3].Name);
        Assert.All(devices.Skip(1), d => Assert.False(d.Usable));
        Assert.All(devices.Skip(1), d => Assert.Contains("no backend", d.Runs, StringComparison.Ordinal));
    }

    // Two cards behind one PCIe switch with two NVLinks between them, a third under another port of the same root, a fourth and a fifth on another root,
    // the fifth's node unknown. The third and the fourth share an NVSwitch.
    [Fact]
    public void List_SeveralAccelerators_TellsTheWaysBetweenThem()
    {
        Put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1  Release Build\n");
        string[] addresses = ["0000:83:00.0", "0000:84:00.0", "0000:91:00.0", "0000:c1:00.0", "0000:c2:00.0"];
        string[] ways =
        [
            "pci0000:80/0000:80:01.0/0000:81:00.0/0000:82:00.0/0000:83:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0/0000:82:01.0/0000:84:00.0",
            "pci0000:80/0000:80:02.0/0000:91:00.0", "pci0000:c0/0000:c0:01.0/0000:c1:00.0", "pci0000:d0/0000:d0:01.0/0000:c2:00.0",
        ];
        for (var i = 0; i < addresses.Length; i++)
        {
            Put($"sys/devices/{ways[i]}/class", "0x030200\n");
            Put($"sys/devices/{ways[i]}/vendor", "0x10de\n");
            Put($"sys/devices/{ways[i]}/device", "0x2330\n");
            Put($"sys/devices/{ways[i]}/numa_node", i < 4 ? "1\n" : "-1\n");
            Directory.CreateSymbolicLink(Path.Combine(_root, "sys/bus/pci/devices", addresses[i]), $"../../../devices/{ways[i]}");
        }
        const string nvSwitch = "0000:05:00.0";
        var ends = new Dictionary<string, string[]>
        {
            [addresses[0]] = [addresses[1], addresses[1]],
            [addresses[1]] = [addresses[0], addresses[0]],
            [addresses[2]] = [nvSwitch, nvSwitch, nvSwitch],
            [addresses[3]] = [nvSwitch, nvSwitch, nvSwitch],
        };
        var facts = new NvidiaFacts("NVIDIA H100", new Version(9, 0), 80L << 30, 79L << 30, null);

        var devices = new DeviceManager(_root, address => facts with { NvLinks = ends.GetValueOrDefault(address) }).List(DeviceVendor.Nvidia);

        Assert.Equal(5, devices.Count);
        Assert.Equal("cuda:1 NvLink x2, cuda:2 HostBridge, cuda:3 NumaNode, cuda:4 System", string.Join(", ", devices[0].Peers));
        Assert.Equal("cuda:0 HostBridge, cuda:1 HostBridge, cuda:3 NvLink x3, cuda:4 System", string.Join(", ", devices[2].Peers));
        ends.Clear();
        devices = new DeviceManager(_root, _ => facts).List();
        Assert.Equal("cuda:1 PciSwitch", devices[1].Peers[0].ToString());
        Assert.Empty(devices[0].Peers);
    }

    [Fact]
    public void List_AmdCardsWithLinksOfTheirOwn_TellsThem()
    {
        Pci("0000:03:00.0", "0x038000", "0x1002", "0x74a1");
        Pci("0000:0b:00.0", "0x038000", "0x1002", "0x74a1");
        Put("sys/class/kfd/kfd/topology/nodes/0/properties", "simd_count 0\n");
        Put("sys/class/kfd/kfd/topology/nodes/1/properties", "location_id 768\n");
        Put("sys/class/kfd/kfd/topology/nodes/2/properties", "location_id 2816\n");
        Put("sys/class/kfd/kfd/topology/nodes/1/io_links/0/properties", "type 2\nnode_from 1\nnode_to 0\n");
        Put("sys/class/kfd/kfd/topology/nodes/1/io_links/1/properties", "type 11\nnode_from 1\nnode_to 2\n");

        var devices = new DeviceManager(_root).List(DeviceVendor.Amd);

        Assert.Equal([new PeerLink("0000:0b:00.0", PeerPath.Xgmi)], devices[0].Peers);
        // Only the one direction was told; no tree of buses was.
        Assert.Equal([new PeerLink("0000:03:00.0", PeerPath.System)], devices[1].Peers);
    }

    [Fact]
    public void List_ThisMachine_HasProcessors() => Assert.True(new DeviceManager().List()[0].Cores > 0);

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private void Pci(string address, string kind, string vendor, string device, params (string File, string Text)[] more)
    {
        foreach (var (file, text) in more.Concat([("class", kind), ("vendor", vendor), ("device", device)]))
        {
            Put($"sys/bus/pci/devices/{address}/{file}", text + "\n");
        }
    }

    private void Put(string path, string text)
    {
        var file = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, text);
    }
}
