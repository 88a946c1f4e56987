using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>
/// What the tensors of a device hold. On the CPU every request of libtorch is counted in the bytes asked for (the scratch memory of
/// matrix libraries is none of its requests); on a GPU libtorch's caching allocator counts, in blocks rounded up.
/// </summary>
/// <param name="Current">Bytes in tensors now.</param>
/// <param name="Peak">Most bytes in tensors since <see cref="ResetPeak"/>.</param>
/// <param name="Allocations">Requests served since the process started.</param>
/// <param name="Allocated">Bytes of all these requests.</param>
public readonly record struct AllocatorMemory(long Current, long Peak, long Allocations, long Allocated)
{
    /// <summary>The counters now.</summary>
    public static unsafe AllocatorMemory Of(Device device)
    {
        NativeAllocatorStats stats;
        stats.Size = (uint)sizeof(NativeAllocatorStats);
        NativeMethods.Check(NativeMethods.ds_allocator_read((int)device.Type, device.Index, &stats));
        return new AllocatorMemory(stats.Current, stats.Peak, stats.Allocations, stats.Allocated);
    }

    /// <summary>The peak starts again from the bytes in tensors now.</summary>
    public static void ResetPeak(Device device) => NativeMethods.Check(NativeMethods.ds_allocator_reset_peak((int)device.Type, device.Index));

    /// <summary>
    /// Bytes above which requests for host tensors fail with <see cref="NativeStatus.OutOfMemory"/>, which can be told of, in place of a
    /// kernel that ends the process; 0 for none.
    /// </summary>
    public static void LimitHost(long bytes) => NativeMethods.Check(NativeMethods.ds_allocator_set_limit(bytes));

    /// <summary>
    /// Keeps up to so many bytes that host tensors freed for those to come; the C library's own rule gives them back to the kernel, and every step
    /// faults them in again. For a process that trains; it cannot be undone. Nothing happens where the C library is not glibc.
    /// </summary>
    public static void KeepHost(long bytes) => NativeMethods.Check(NativeMethods.ds_allocator_keep(bytes));
}
