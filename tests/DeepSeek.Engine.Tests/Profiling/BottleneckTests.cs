using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;
using static DeepSeek.Engine.Tests.Profiling.TraceTreeTests;
using Stopwatch = System.Diagnostics.Stopwatch;

namespace DeepSeek.Engine.Tests.Profiling;

/// <summary>The classifier on traces of each kind, made by hand (100 GFLOP/s, 10 GB/s, 2 µs a call), and on real steps made to be of it.</summary>
public sealed class BottleneckTests
{
    // 2·1000·1000·1000 operations: 20 ms at the roof.
    private const string Product = "aten::mm|T6:0[1000,1000] T6:0[1000,1000]|T6:0[1000,1000]";

    // 120 MB: 12 ms at the roof.
    private const string Sum = "aten::add|T6:0[10000000] T6:0[10000000] I1|T6:0[10000000]";
    private const string Tiny = "aten::add|T6:0[4] T6:0[4] I1|T6:0[4]";

    [Fact]
    public void Constructed_Products_AreComputeBound()
    {
        var found = Of(40_000, Event(TraceEventKind.Module, "Net.head", 0, 26_000), Call(Product, 0, 26_000, 0), Call(Sum, 26_000, 39_000));

        Assert.Equal((BottleneckKind.Compute, "aten::mm", "forward", "Net.head"), (found.Kind, found.Operator!, found.Phase!, found.Module!));
        Assert.Equal(0.65, found.Share, 1e-9);
        Assert.Equal(20.0 / 26, found.RoofShare!.Value, 1e-9);
        Assert.Equal("Compute-bound: 65 % of the time is arithmetic; mm in the forward pass of Net.head takes 65 % at 77 % of the roof. Lower precision or fewer operations help.", found.Sentence);
    }

    [Fact]
    public void Constructed_BackwardProduct_IsNamedWithItsPass() =>
        Assert.Contains("mm in the backward pass takes", Of(30_000, Event(TraceEventKind.Phase, "backward", 0, 30_000), Call(Product, 0, 30_000, 0)).Sentence);

    [Fact]
    public void Constructed_Sums_AreMemoryBound()
    {
        var found = Of(20_000, Call(Sum, 0, 16_000), Call(Tiny, 16_000, 16_003));

        Assert.Equal((BottleneckKind.Memory, "aten::add"), (found.Kind, found.Operator!));
        Assert.Equal(0.75, found.RoofShare!.Value, 1e-9);
    }

    [Fact]
    public void Constructed_ManySmallCalls_AreLaunchBound()
    {
        var events = Enumerable.Range(0, 1000).Select(i => Call(Tiny, 8 * i, 8 * i + 4)).ToArray();

        var found = Of(8_000, events);

        Assert.Equal(BottleneckKind.Launch, found.Kind);
        Assert.Equal(1, found.Share, 1e-9);
        Assert.Contains("1000 operators", found.Sentence);
    }

    [Fact]
    public void Constructed_LongWaits_AreDataBound()
    {
        var found = Of(50_000, Event(TraceEventKind.Data, "batches", 0, 30_000), Call(Product, 30_000, 50_000));

        Assert.Equal(BottleneckKind.Data, found.Kind);
        Assert.Equal(0.6, found.Share, 1e-9);
        Assert.StartsWith("Data-bound: 60 % of the time waits for batches.", found.Sentence);
    }

    [Fact]
    public void Constructed_LongGaps_AreHostBound() => Assert.Equal(BottleneckKind.Host, Of(50_000, Call(Product, 0, 20_000), Call(Tiny, 49_990, 50_000)).Kind);

    [Fact]
    public void Constructed_SlowOperator_IsInefficient()
    {
        var found = Of(1_000_000, Call("aten::sort|T6:0[1000000] I0 B0|T6:0[1000000] T4:0[1000000]", 0, 1_000_000));

        Assert.Equal((BottleneckKind.Inefficient, "aten::sort"), (found.Kind, found.Operator!));
    }

    [Fact]
    public void Real_LargeProducts_AreComputeBound()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, 512, 512);
        x.UniformInPlace(-1, 1);
        AssertKind(BottleneckKind.Compute, 3, () => _ = x.MatMul(x), traces: 5);
    }

    [Fact]
    public void Real_LargeSums_AreMemoryBound()
    {
        using var scope = TensorScope.Open();
        var (x, y) = (Tensor.Empty(Dtype.Float32, 1 << 24), Tensor.Empty(Dtype.Float32, 1 << 24));
        x.UniformInPlace(-1, 1);
        y.CopyInPlace(x);
        AssertKind(BottleneckKind.Memory, 4, () => y.CopyInPlace(x), traces: 5);
    }

    [Fact]
    public void Real_TinySums_AreLaunchBound()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.Scalar(1);
        AssertKind(BottleneckKind.Launch, 2, () =>
        {
            for (var i = 0; i < 100; i++)
            {
                using var inner = TensorScope.Open();
                _ = x + x;
            }
        }, traces: 50);
    }

    [Fact]
    public void Real_ProgramBetweenOperators_IsHostBound()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.Scalar(1);
        AssertKind(BottleneckKind.Host, 3, () =>
        {
            var start = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(start).TotalMilliseconds < 10)
            {
                Thread.SpinWait(100);
            }
            _ = x + x;
        });
    }

    [Fact]
    public void Real_LoaderSlowerThanTheStep_IsDataBound()
    {
        var folder = Directory.CreateTempSubdirectory("deepseek-trace-").FullName;
        try
        {
            // Rows of 256 KiB: a batch is 4 MiB of file, and the step looks at one number of it.
            const int Rows = 64, Width = 1 << 16;
            var files = ((string[])["a", "b"]).Select(name =>
            {
                var path = Path.Combine(folder, $"{name}.tar");
                using var file = File.Create(path);
                using var writer = new ShardWriter(file);
                writer.Write(new ShardBlock(NpyArray.Of<float>(new float[Rows * Width], Rows, Width), NpyArray.Of<long>(new long[Rows], Rows)));
                return new ShardFile(path, Rows);
            }).ToArray();
            // A window of one byte holds one shard: they are read in turns.
            using var loader = new BatchLoader(new ShardSet(files, [Width], 2), new BatchOptions { BatchSize = 16, Epochs = 6, Prefetch = 1, WindowBytes = 1 });
            AssertKind(BottleneckKind.Data, 40, () =>
            {
                using var scope = TensorScope.Open();
                Assert.True(loader.Next(out var batch));
                _ = batch.Features.Narrow(1, 0, 1) * 2;
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Bottleneck Of(long microseconds, params TraceEvent[] events) => new TraceReport(events, 0, 1000 * microseconds, [], Ceilings.Known, "cpu").Bottleneck;

    // Where other processes take the core in the middle of a trace, that looks like the program's own time: the shortest of some traces was disturbed least.
    private static void AssertKind(BottleneckKind kind, int times, Action step, int traces = 1)
    {
        step();
        var first = Traced(times, step, null);
        var found = Enumerable.Range(1, traces - 1).Select(_ => Traced(times, step, first.Ceilings)).Prepend(first).MinBy(report => report.Duration)!.Bottleneck;
        Assert.True(found.Kind == kind, $"{found.Sentence} {string.Join(", ", found.Shares)}");
    }

    private static TraceReport Traced(int times, Action step, DeviceCeilings? ceilings)
    {
        using var trace = Trace.Start(new TraceOptions { Device = Device.Cpu, Ceilings = ceilings });
        for (var i = 0; i < times; i++)
        {
            step();
        }
        return trace.Stop();
    }
}
