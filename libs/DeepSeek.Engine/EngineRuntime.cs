using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine;

/// <summary>Memory of the process as the engine sees it, in bytes but for the handles.</summary>
/// <param name="LiveTensors">Tensor handles given out and not yet freed.</param>
/// <param name="Resident">Bytes in memory now.</param>
/// <param name="PeakResident">Most bytes ever in memory.</param>
public readonly record struct MemoryStats(long LiveTensors, long Resident, long PeakResident);

/// <summary>Process-wide settings of the engine: threads, determinism, random numbers.</summary>
public static unsafe class EngineRuntime
{
    /// <summary>Version of libtorch the native library was built with, such as 1.13.1.</summary>
    public static Version LibtorchVersion
    {
        get
        {
            int version;
            NativeMethods.Check(NativeMethods.ds_core_version(&version));
            return new Version(version / 10000, version / 100 % 100, version % 100);
        }
    }

    /// <summary>Threads one operator may use on the CPU.</summary>
    public static int Threads
    {
        get
        {
            int threads;
            NativeMethods.Check(NativeMethods.ds_device_get_threads(&threads));
            return threads;
        }
        set => NativeMethods.Check(NativeMethods.ds_device_set_threads(value));
    }

    /// <summary>CUDA devices that can be used.</summary>
    public static int CudaDevices
    {
        get
        {
            int count;
            NativeMethods.Check(NativeMethods.ds_device_cuda_count(&count));
            return count;
        }
    }

    /// <summary>Refuses operators that have no deterministic form.</summary>
    public static void RequireDeterminism(bool required = true) => NativeMethods.Check(NativeMethods.ds_device_set_deterministic(required ? 1 : 0));

    /// <summary>Seeds the generators of all devices.</summary>
    public static void Seed(long seed) => NativeMethods.Check(NativeMethods.ds_random_seed(unchecked((ulong)seed)));

    /// <summary>State of the CPU's generator.</summary>
    public static byte[] RandomState() => RandomState(Device.Cpu);

    /// <summary>State of a device's generator; not while a step is being captured.</summary>
    public static byte[] RandomState(Device device)
    {
        long bytes;
        NativeMethods.Check(NativeMethods.ds_random_get_device_state((int)device.Type, device.Index, null, 0, &bytes));
        var state = new byte[bytes];
        fixed (byte* buffer = state)
        {
            NativeMethods.Check(NativeMethods.ds_random_get_device_state((int)device.Type, device.Index, buffer, bytes, &bytes));
        }
        return state;
    }

    /// <summary>Puts the CPU's generator into a state saved before.</summary>
    public static void RestoreRandomState(ReadOnlySpan<byte> state) => RestoreRandomState(state, Device.Cpu);

    /// <summary>Puts a device's generator into a state saved before.</summary>
    public static void RestoreRandomState(ReadOnlySpan<byte> state, Device device)
    {
        fixed (byte* buffer = state)
        {
            NativeMethods.Check(NativeMethods.ds_random_set_device_state((int)device.Type, device.Index, buffer, state.Length));
        }
    }

    /// <summary>Memory now.</summary>
    public static MemoryStats Memory()
    {
        NativeMemoryStats stats;
        stats.Size = (uint)sizeof(NativeMemoryStats);
        NativeMethods.Check(NativeMethods.ds_device_memory(&stats));
        return new MemoryStats(stats.LiveHandles, stats.Resident, stats.PeakResident);
    }
}
