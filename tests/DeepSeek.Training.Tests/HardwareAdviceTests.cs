using DeepSeek.Contracts.Devices;
using DeepSeek.Training.Runs;

namespace DeepSeek.Training.Tests;

/// <summary>Advice from numbers that can be worked out by hand: one host with a CPU of 100 GFLOP/s, 20 GB/s and 2 µs a call.</summary>
public sealed class HardwareAdviceTests
{
    private const string Here = "one";
    private static readonly RunCompute s_onCpu = new("cpu", "Some CPU", "fp32", false, [], []);
    private static readonly KnownDevice s_cpu = Device(Here, "cpu", "Some CPU", 1e11, 2e10, 2e-6, 64L << 30);
    private static readonly KnownDevice s_gpu = Device("two", "cuda:0", "Some GPU", 5e13, 2e12, 5e-6, 80L << 30);

    [Fact]
    public void Arithmetic_OfALargeNet_IsFasterOnTheGpuByTheRoofs()
    {
        // 1e10 operations: 0.1 s at the peak, 0.2 s measured, of which 0.01 s waited. The bound is missed by 0.19 / 0.1 = 1.9.
        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e10, bytes: 1e8, calls: 100, seconds: 0.2, waiting: 0.01), Here, [s_cpu, s_gpu]);

        Assert.Equal("arithmetic", advice.Limit);
        Assert.Equal(0.5, advice.Share!.Value, 1e-12);
        var gpu = Assert.Single(advice.Expected);
        // There: calls 5e-4 s bind (arithmetic 2e-4 s), so 0.01 + 1.9 · 5e-4 = 0.01095 s.
        Assert.Equal(("two", "cuda:0", "Some GPU", true), (gpu.Host, gpu.Device, gpu.Name, gpu.Fits));
        Assert.Equal(0.2 / 0.01095, gpu.Speedup, 1e-9);
        Assert.Equal(
            [
                "100 steps of 200 ms on cpu (Some CPU), at 50 % of its rated float32 arithmetic (50 of 100 GFLOP/s) and 2.5 % of its rated bandwidth.",
                "Arithmetic limits it most: at least 50 % of the time.",
                "A step needs 1 GiB in tensors of 16 GiB that there were.",
                "Some GPU (cuda:0 of two) would be expected to take a step 18.3 times as fast.",
            ],
            advice.Sentences);
    }

    [Fact]
    public void Calls_OfASmallNet_AreNotWorthAGpu()
    {
        // 300 operators: 0.6 ms of calls here, 1.5 ms there; a step of 1 ms would take 1 / 0.6 · 1.5 ms = 2.5 ms.
        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e6, bytes: 1e6, calls: 300, seconds: 1e-3), Here, [s_cpu, s_gpu]);

        Assert.Equal("calls", advice.Limit);
        Assert.Equal(0.4, Assert.Single(advice.Expected).Speedup, 1e-9);
        Assert.Equal("Some GPU (cuda:0 of two) would not pay: expected at 0.40 times the speed, as the steps are too small, their 300 operators take 1.5 ms there to be called alone.", advice.Sentences[^1]);
    }

    [Fact]
    public void Data_ThatIsWaitedFor_StaysOnAFasterDevice()
    {
        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e9, bytes: 1e6, calls: 10, seconds: 0.1, waiting: 0.09), Here, [s_cpu, s_gpu]);

        Assert.Equal("data", advice.Limit);
        Assert.InRange(Assert.Single(advice.Expected).Speedup, 1, 0.1 / 0.09);
        Assert.EndsWith("as batches would be waited for there, too.", advice.Sentences[^1], StringComparison.Ordinal);
        Assert.Contains("Waiting for batches limits it most: 90 % of the time. Faster storage or preparation helps; a faster device does not.", advice.Sentences);
    }

    [Fact]
    public void Memory_ThatMoves_IsHeldAgainstTheBandwidth()
    {
        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e8, bytes: 1e9, calls: 10, seconds: 0.1), Here, [s_cpu]);

        Assert.Equal(("memory", 0.5), (advice.Limit, advice.Share));
        Assert.Empty(advice.Expected);
        Assert.Equal("The platform knows no other device rated for float32: `deepseek devices --rate` on the other machines makes them known.", advice.Sentences[^1]);
    }

    [Fact]
    public void Devices_AreOrderedByWhatIsExpected_AndThoseTooSmallNamed()
    {
        var small = Device("three", "cuda:0", "Small GPU", 1e14, 4e12, 5e-6, 1L << 29);
        var slow = Device("four", "cpu", "Old CPU", 2e10, 1e10, 2e-6, 64L << 30);
        var other = Device("five", "cuda:0", "Half GPU", 5e13, 2e12, 5e-6, 80L << 30);

        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e12, bytes: 1e8, calls: 10, seconds: 10), Here, [slow, other, small, s_cpu, s_gpu, s_gpu]);

        Assert.Equal(["three", "five", "two", "four"], advice.Expected.Select(e => e.Host));
        Assert.Equal([1000, 500, 500, 0.2], advice.Expected.Select(e => Math.Round(e.Speedup, 9)));
        Assert.Equal([false, true, true, true], advice.Expected.Select(e => e.Fits!.Value));
        Assert.Contains("Small GPU (cuda:0 of three) has too little memory for it.", advice.Sentences);
        Assert.Equal("Old CPU (cpu of four) would not pay: expected at 0.20 times the speed, as it is rated no faster for this work.", advice.Sentences[^1]);
    }

    [Fact]
    public void Time_ThatNothingExplains_IsBlamedOnNothing()
    {
        // Arithmetic 1 ms, memory 5 ms, calls 0.2 ms, waiting 1 ms of 100 ms.
        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e8, bytes: 1e8, calls: 100, seconds: 0.1, waiting: 1e-3), Here, [s_cpu]);

        Assert.Null(advice.Limit);
        Assert.Equal(0.05, advice.Share!.Value, 1e-12);
        Assert.Equal("Neither batches, calls, arithmetic nor memory explain its time: the longest of them takes 5.0 % of it. A trace (`\"trace\": {}` in the spec) shows where it goes.", advice.Sentences[1]);
    }

    [Fact]
    public void Captured_Steps_PayForNoCalls()
    {
        var onGpu = new RunCompute("cuda:1", "Some GPU", "fp32", true, [], []);

        // Of two GPUs of a kind the host tells of one.
        var advice = HardwareAdvice.Of(onGpu, Usage(flops: 5e11, bytes: 1e9, calls: 100_000, seconds: 0.02), "two", [s_gpu]);

        Assert.Equal(("arithmetic", 0.5), (advice.Limit, advice.Share));
    }

    [Fact]
    public void NotRated_SaysWhatToRunAndInventsNothing()
    {
        var advice = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e10, bytes: 1e8, calls: 100, seconds: 0.2), Here, [s_gpu]);

        Assert.Equal((null, null), (advice.Limit, advice.Share));
        Assert.Empty(advice.Expected);
        Assert.Equal(
            [
                "100 steps of 200 ms on cpu (Some CPU).",
                "A step needs 1 GiB in tensors of 16 GiB that there were.",
                "cpu of one is not rated: `deepseek devices --rate` there tells what share of its ceilings a run reaches and lets devices be compared.",
            ],
            advice.Sentences);
    }

    [Fact]
    public void Type_ThatWasNotRated_OrWorkNotCounted_IsSaid()
    {
        var half = HardwareAdvice.Of(s_onCpu, Usage(flops: 1e10, bytes: 1e8, calls: 100, seconds: 0.2) with { Type = "bfloat16" }, Here, [s_cpu, s_gpu]);
        var brief = HardwareAdvice.Of(s_onCpu, Usage(flops: null, bytes: null, calls: null, seconds: 0.2, waiting: 0.15), Here, [s_cpu, s_gpu]);

        Assert.Equal("Some CPU is not rated for bfloat16, so it says nothing of other devices.", half.Sentences[^1]);
        Assert.Equal(("data", "The run was too short for its operations to be counted, so it says nothing of other devices."), (brief.Limit, brief.Sentences[^1]));
    }

    private static RunUsage Usage(double? flops, double? bytes, int? calls, double seconds, double waiting = 0) =>
        new(100, 100 * seconds, 100 * waiting, "float32", flops, bytes, calls, 1L << 30, 16L << 30);

    private static KnownDevice Device(string host, string device, string name, double flops, double bandwidth, double call, long memory) => new(host, new RatedDevice
    {
        Device = device,
        Name = name,
        FlopRates = new Dictionary<string, double> { ["float32"] = flops },
        Bandwidth = bandwidth,
        CallSeconds = call,
        Memory = memory,
    });
}
