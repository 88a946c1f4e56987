using System.Runtime.InteropServices;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Cuda;

/// <summary>What a GPU is.</summary>
/// <param name="Name">As its driver calls it.</param>
/// <param name="Capability">Compute capability, such as 9.0.</param>
/// <param name="Multiprocessors">Streaming multiprocessors.</param>
/// <param name="TotalMemory">Bytes.</param>
/// <param name="FreeMemory">Bytes that no process holds.</param>
/// <param name="L2Cache">Bytes.</param>
/// <param name="Limits">What its multiprocessors hold.</param>
public sealed record CudaDeviceInfo(string Name, Version Capability, int Multiprocessors, long TotalMemory, long FreeMemory, long L2Cache, MultiprocessorLimits Limits);

/// <summary>What libtorch's allocator holds on a GPU, in bytes but for the counts.</summary>
/// <param name="Allocated">In tensors.</param>
/// <param name="PeakAllocated">Most in tensors since the last reset.</param>
/// <param name="Reserved">Taken from the device.</param>
/// <param name="PeakReserved">Most taken since the last reset.</param>
/// <param name="DeviceAllocations">Times the device was asked for memory; constant in a steady state.</param>
/// <param name="Retries">Allocations that needed the cache given back first.</param>
/// <param name="Failures">Allocations that failed.</param>
public readonly record struct CudaMemory(long Allocated, long PeakAllocated, long Reserved, long PeakReserved, long DeviceAllocations, long Retries, long Failures);

/// <summary>Attention kernels that libtorch may choose from.</summary>
[Flags]
public enum AttentionKinds
{
    /// <summary>Plain matrix products only.</summary>
    None = 0,
    /// <summary>FlashAttention.</summary>
    Flash = 1,
    /// <summary>Memory-efficient attention.</summary>
    MemoryEfficient = 2,
    /// <summary>cuDNN's.</summary>
    CuDnn = 4,
}

/// <summary>Calls that concern a GPU as a whole; without CUDA each throws <see cref="NativeException"/> with <see cref="NativeStatus.NotFound"/>.</summary>
public static unsafe class CudaDevice
{
    /// <summary>What the device is.</summary>
    public static CudaDeviceInfo Info(int device = 0)
    {
        NativeCudaDevice info;
        info.Size = (uint)sizeof(NativeCudaDevice);
        NativeMethods.Check(NativeMethods.ds_cuda_device_info(device, &info));
        return new CudaDeviceInfo(Marshal.PtrToStringUTF8((nint)info.Name) ?? "", new Version(info.Major, info.Minor), info.Multiprocessors, info.TotalMemory, info.FreeMemory, info.L2Cache,
            new MultiprocessorLimits(info.Multiprocessors, info.Threads, info.Blocks, info.Registers, info.SharedMemory, info.ReservedShared));
    }

    /// <summary>Memory now and at its peak.</summary>
    public static CudaMemory Memory(int device = 0)
    {
        NativeCudaMemory stats;
        stats.Size = (uint)sizeof(NativeCudaMemory);
        NativeMethods.Check(NativeMethods.ds_cuda_memory_stats(device, &stats));
        return new CudaMemory(stats.Allocated, stats.PeakAllocated, stats.Reserved, stats.PeakReserved, stats.DeviceAllocations, stats.Retries, stats.Failures);
    }

    /// <summary>Peaks start again from the present values.</summary>
    public static void ResetPeaks(int device = 0) => NativeMethods.Check(NativeMethods.ds_cuda_reset_peaks(device));

    /// <summary>Gives cached memory back to the device.</summary>
    public static void EmptyCache() => NativeMethods.Check(NativeMethods.ds_cuda_empty_cache());

    /// <summary>Makes it this thread's device.</summary>
    public static void Select(int device) => NativeMethods.Check(NativeMethods.ds_cuda_set_device(device));

    /// <summary>Waits for all work of the device; faults of earlier work are thrown here.</summary>
    public static void Synchronize(int device = 0)
    {
        Recording.RefuseHostAccess("Synchronize()");
        NativeMethods.Check(NativeMethods.ds_cuda_synchronize(device));
    }

    /// <summary>Lets float32 products and convolutions round their inputs to TF32 (10 bits of mantissa), about eight times as fast.</summary>
    public static void AllowTf32(bool allowed = true) => NativeMethods.Check(NativeMethods.ds_cuda_allow_tf32(allowed ? 1 : 0));

    /// <summary>Lets cuDNN time its algorithms at the first use of a shape and keep the fastest; results may differ in rounding from run to run.</summary>
    public static void BenchmarkConvolutions(bool enabled = true) => NativeMethods.Check(NativeMethods.ds_cuda_benchmark_convolutions(enabled ? 1 : 0));

    /// <summary>Which fused attention kernels may be chosen.</summary>
    public static void AllowAttention(AttentionKinds kinds) => NativeMethods.Check(NativeMethods.ds_cuda_allow_attention((int)kinds));
}
