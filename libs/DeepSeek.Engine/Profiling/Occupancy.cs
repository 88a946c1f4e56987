using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Profiling;

/// <summary>How a kernel was launched.</summary>
/// <param name="GridX">Blocks.</param>
/// <param name="GridY">Blocks.</param>
/// <param name="GridZ">Blocks.</param>
/// <param name="BlockX">Threads.</param>
/// <param name="BlockY">Threads.</param>
/// <param name="BlockZ">Threads.</param>
/// <param name="Registers">Of a thread.</param>
/// <param name="SharedMemory">Bytes of a block, static and dynamic.</param>
/// <param name="Cluster">Blocks that run together; 1 for none.</param>
public sealed record KernelLaunch(int GridX, int GridY, int GridZ, int BlockX, int BlockY, int BlockZ, int Registers, int SharedMemory, int Cluster)
{
    /// <summary>Blocks of the grid.</summary>
    public long Blocks => (long)GridX * GridY * GridZ;

    /// <summary>Threads of a block.</summary>
    public int Threads => BlockX * BlockY * BlockZ;
}

/// <summary>What the multiprocessors of a GPU hold at most at once (CUDA programming guide, "Compute Capabilities").</summary>
/// <param name="Multiprocessors">Of the device.</param>
/// <param name="Threads">On one, as are the following.</param>
/// <param name="Blocks">Blocks.</param>
/// <param name="Registers">32-bit registers.</param>
/// <param name="SharedMemory">Bytes.</param>
/// <param name="ReservedShared">Bytes that each block takes besides its own.</param>
public sealed record MultiprocessorLimits(int Multiprocessors, int Threads, int Blocks, int Registers, int SharedMemory, int ReservedShared)
{
    private const int Warp = 32;

    // Registers are given out to warps in units of 256, and a multiprocessor's four parts have a quarter of them each; shared memory in units of 128 bytes.
    private const int RegisterUnit = 256;
    private const int Parts = 4;
    private const int SharedUnit = 128;

    /// <summary>Of a GPU; null for other devices.</summary>
    public static MultiprocessorLimits? Of(Device device) => device.IsCuda ? CudaDevice.Info(device.Index).Limits : null;

    /// <summary>
    /// Blocks that one multiprocessor holds, by threads, registers, shared memory and their greatest number: what CUDA's own calculator finds for
    /// compute capability 7 and later. Clusters may lower it further.
    /// </summary>
    public int ActiveBlocks(KernelLaunch launch)
    {
        var warps = RoundUp(launch.Threads, Warp) / Warp;
        if (warps == 0)
        {
            return 0;
        }
        var byWarps = Threads / Warp / warps;
        var registers = RoundUp(launch.Registers * Warp, RegisterUnit);
        var byRegisters = registers == 0 ? Blocks : Registers / Parts / registers * Parts / warps;
        var byMemory = SharedMemory / Math.Max(1, RoundUp(launch.SharedMemory + ReservedShared, SharedUnit));
        return Math.Min(Math.Min(byWarps, Blocks), Math.Min(byRegisters, byMemory));
    }

    /// <summary>Theoretical occupancy: resident warps over the most that fit, 0 to 1.</summary>
    public double Occupancy(KernelLaunch launch) => (double)ActiveBlocks(launch) * RoundUp(launch.Threads, Warp) / Threads;

    /// <summary>How many times the device is filled by the grid's blocks; below 1 some of it is idle.</summary>
    public double? Waves(KernelLaunch launch) => ActiveBlocks(launch) is > 0 and var blocks ? launch.Blocks / ((double)blocks * Multiprocessors) : null;

    private static int RoundUp(int value, int unit) => (value + unit - 1) / unit * unit;
}
