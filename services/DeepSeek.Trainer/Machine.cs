using DeepSeek.Devices;
using DeepSeek.Engine;
using DeepSeek.Engine.Cuda;

namespace DeepSeek.Trainer;

/// <summary>A GPU that libtorch can use, in libtorch's order.</summary>
internal sealed record TrainerGpu(int Index, string Name, Version Capability, long FreeMemory);

/// <summary>What a run may compute on: the GPUs that libtorch sees, and all devices that the kernel lists.</summary>
internal sealed record Machine(IReadOnlyList<TrainerGpu> Gpus, IReadOnlyList<ComputeDevice> Devices)
{
    /// <summary>The processors' name.</summary>
    internal string Processor => Devices.FirstOrDefault(d => d.Vendor == DeviceVendor.Host)?.Name ?? "processor";

    /// <summary>Accelerators that libtorch does not see, such as a GPU beside a native library built without CUDA.</summary>
    internal IEnumerable<ComputeDevice> Idle => Devices.Where(d => d.Vendor != DeviceVendor.Host && (Gpus.Count == 0 || d.Vendor != DeviceVendor.Nvidia));

    internal static Machine Read() => new(
        [.. Enumerable.Range(0, EngineRuntime.CudaDevices).Select(i => Gpu(i, CudaDevice.Info(i)))], new DeviceManager().List());

    private static TrainerGpu Gpu(int index, CudaDeviceInfo info) => new(index, info.Name, info.Capability, info.FreeMemory);
}
