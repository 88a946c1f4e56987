using DeepSeek.Engine.Profiling;

namespace DeepSeek.Engine.Tests.Profiling;

/// <summary>Occupancy by hand, and what a report makes of kernels.</summary>
public sealed class OccupancyTests
{
    // An H100: 64 warps, 32 blocks, 64 K registers and 228 KiB of shared memory on each of 132 multiprocessors, 1 KiB of it taken by every block.
    private static readonly MultiprocessorLimits s_hopper = new(132, 2048, 32, 65536, 233472, 1024);

    [Theory]
    [InlineData(256, 32, 0, 8)] // 2048 threads
    [InlineData(1024, 64, 0, 1)] // 32 warps of 2048 registers
    [InlineData(32, 16, 0, 32)] // the greatest number of blocks
    [InlineData(128, 168, 0, 3)] // a warp takes 5376 registers, a quarter holds 3 of them: 12 warps, 4 a block
    [InlineData(128, 255, 0, 2)] // 8192 a warp: 2 in a quarter
    [InlineData(384, 168, 227 * 1024, 1)] // the most shared memory there is
    [InlineData(128, 32, 50 * 1024, 4)] // 51 KiB each
    [InlineData(96, 40, 0, 16)] // a warp takes 1280, a quarter holds 12: 48 warps, 3 a block
    [InlineData(33, 32, 0, 32)] // two warps a block
    public void ActiveBlocks_OfALaunch_AreThoseOfTheTightestLimit(int threads, int registers, int sharedMemory, int blocks)
    {
        var launch = Launch(1, threads, registers, sharedMemory);

        Assert.Equal(blocks, s_hopper.ActiveBlocks(launch));
        Assert.Equal(blocks * ((threads + 31) / 32) / 64.0, s_hopper.Occupancy(launch), 1e-12);
    }

    [Fact]
    public void Waves_OfAGrid_AreItsBlocksOverThoseThatFit()
    {
        Assert.Equal(0.5, s_hopper.Waves(Launch(8 * 66, 256, 32, 0))!.Value, 1e-12);
        Assert.Null(s_hopper.Waves(Launch(1, 128, 32, 300 * 1024)));
    }

    [Fact]
    public void Report_OfKernels_GivesEachOperatorWhatItAskedFor()
    {
        TraceEvent[] events =
        [
            Event("aten::linear", 0, 100, -1, 300),
            Event("aten::addmm", 10, 90, 0, 300),
            Event("aten::view", 100, 110, -1, 0),
            Event("deepseek::graph_replay", 110, 130, -1, 500),
        ];
        TraceKernel[] kernels =
        [
            Kernel("gemm", 50, 250, 1, Launch(132, 256, 64, 0)), // 4 blocks of 8 warps: 1/2
            Kernel("add", 250, 350, 1, Launch(264, 256, 32, 0)), // 8 blocks of 8 warps: 1
            Kernel("gemm", 360, 760, 3, Launch(132, 256, 64, 0)) with { Replayed = true },
            Kernel("softmax", 770, 870, 3, Launch(132, 256, 32, 0)) with { Replayed = true },
        ];

        var report = new TraceReport(events, 0, 900, [], Ceilings.Known, "cuda:0", kernels: kernels, limits: s_hopper);

        var linear = report.Operators.Single(o => o.Name == "aten::linear");
        Assert.Equal(300e-9, linear.DeviceTime!.Value, 1e-15);
        Assert.Equal((200 * 0.5 + 100 * 1.0) / 300, linear.Occupancy!.Value, 1e-12);
        Assert.Equal((200 * 0.25 + 100 * 0.25) / 300, linear.Waves!.Value, 1e-12);
        Assert.Null(report.Operators.Single(o => o.Name == "aten::view").Occupancy);
        // Between the kernels, and before the first; 30 more pass after the last.
        Assert.Equal(50, report.Tree.Gap[1]);
        Assert.Equal(20, report.Tree.Gap[3]);
        Assert.Equal(["gemm", "add", "softmax"], report.Kernels.Select(k => k.Name));
        var gemm = report.Kernels[0];
        Assert.Equal((2, 1, 600e-9, 0.75, 0.5), (gemm.Calls, gemm.Replayed, Math.Round(gemm.Time, 15), gemm.Share, gemm.Occupancy!.Value));
        Assert.Equal(["deepseek::graph_replay", "aten::addmm"], gemm.Operators);
    }

    [Fact]
    public void Bottleneck_OfAReplayedGraph_NamesItsLargestKernel()
    {
        TraceEvent[] events = [Event("deepseek::graph_replay", 0, 10, -1, 900_000)];
        TraceKernel[] kernels =
        [
            Kernel("sm90_xmma_gemm_bf16", 10, 700_000, 0, Launch(132, 256, 64, 0)) with { Replayed = true },
            Kernel("layer_norm", 700_000, 900_000, 0, Launch(132, 256, 64, 0)) with { Replayed = true },
        ];

        var report = new TraceReport(events, 0, 900_000, [], Ceilings.Known, "cuda:0", kernels: kernels, limits: s_hopper);

        Assert.Equal(BottleneckKind.Compute, report.Bottleneck.Kind);
        Assert.StartsWith("Compute-bound: 78 % of the time is arithmetic; sm90_xmma_gemm_bf16 in the replayed graph takes 78 %.", report.Summary);
    }

    private static KernelLaunch Launch(int blocks, int threads, int registers, int sharedMemory) => new(blocks, 1, 1, threads, 1, 1, registers, sharedMemory, 1);

    private static TraceEvent Event(string name, long begin, long end, int parent, double work) => new()
    {
        Kind = TraceEventKind.Operator,
        Name = name,
        Begin = begin,
        End = end,
        Parent = parent,
        DeviceWork = work,
    };

    private static TraceKernel Kernel(string name, double begin, double end, int of, KernelLaunch launch) => new()
    {
        Kind = DeviceWorkKind.Kernel,
        Name = name,
        Begin = begin,
        End = end,
        Event = of,
        Launch = launch,
    };
}
