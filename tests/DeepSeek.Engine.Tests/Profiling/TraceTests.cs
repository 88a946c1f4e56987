using System.Text.Json;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Profiling;

public sealed class TraceTests
{
    private static readonly TraceOptions s_options = new() { Ceilings = Ceilings.Known, Device = Device.Cpu };

    [Fact]
    public void Stop_AfterTrainingSteps_TellsOperatorsPhasesAndModules()
    {
        using var net = Net();
        using var optimizer = new AdamW(net);
        using var x = TensorHandle.Filled(0.5f, 8, 1, 6, 6);
        using var y = TensorHandle.From<long>(new long[8], 8);
        Step(net, optimizer, x, y);
        using var trace = Trace.Start(s_options);

        for (var i = 0; i < 3; i++)
        {
            Step(net, optimizer, x, y);
            trace.NextStep();
        }

        var report = trace.Stop();
        Assert.Equal(3, report.StepEnds.Count);
        Assert.Equal(3, report.Operators.Single(o => o.Name == "aten::conv2d").Calls);
        Assert.Equal(3, report.Operators.Single(o => o.Name == "deepseek::adamw").Calls);
        Assert.Equal("optimizer", report.Operators.Single(o => o.Name == "deepseek::adamw").Phase);
        var backward = report.Operators.Single(o => o.Name == "aten::convolution_backward");
        Assert.Equal((3, "backward", "float32"), (backward.Calls, backward.Phase!, backward.Type!));
        // The first layer's input needs no gradient: one product, of 8·4·36 results and 9 weights.
        Assert.Equal(3 * 2.0 * 8 * 4 * 36 * 9, backward.Flops);
        Assert.Equal(["Sequential", "Sequential.0", "Sequential.1", "Sequential.2", "Sequential.3"], report.Modules.Select(m => m.Path).Order(StringComparer.Ordinal));
        var convolution = report.Modules.Single(m => m.Path == "Sequential.0");
        Assert.Equal(3, convolution.Calls);
        Assert.True(convolution is { ForwardTime: > 0, BackwardTime: > 0 });
        Assert.Equal(2 * 3 * 2.0 * 8 * 4 * 36 * 9, convolution.Flops);
        Assert.Equal(["forward", "backward", "optimizer", "data"], report.Phases.Select(p => p.Name));
        Assert.All(report.Phases.Take(3), p => Assert.InRange(p.Time, 1e-9, report.Duration));
        Assert.Equal(0, report.Dropped);
        Assert.All(report.Operators, o => Assert.Null(o.Occupancy));
        Assert.All(report.Operators, o => Assert.Null(o.DeviceTime));
        Assert.Contains(report.Notes, n => n.Contains("no occupancy"));
    }

    [Fact]
    public void SelfTimes_OfARealStep_AddUpToTheRoots()
    {
        using var net = Net();
        using var optimizer = new Sgd(net);
        using var x = TensorHandle.Filled(0.5f, 8, 1, 6, 6);
        using var y = TensorHandle.From<long>(new long[8], 8);
        using var trace = Trace.Start(s_options);
        Step(net, optimizer, x, y);

        var report = trace.Stop();

        var roots = report.Events.Where(e => e.Parent < 0).Sum(e => e.HostTime);
        Assert.Equal(roots, report.Tree.Self.Sum());
        Assert.All(report.Tree.Self, self => Assert.True(self >= 0));
        Assert.All(report.Events, e => Assert.True(e.End >= e.Begin && (e.Parent < 0 || (report.Events[e.Parent].Begin <= e.Begin && e.End <= report.Events[e.Parent].End))));
        // Rows hold operators; ranges around them have the rest.
        var ranges = report.Events.Select((e, i) => e.IsWork ? 0 : report.Tree.Self[i]).Sum();
        Assert.Equal(roots * 1e-9, report.Operators.Sum(o => o.SelfTime) + ranges * 1e-9, 1e-9);
    }

    [Fact]
    public void Memory_OfOneAllocation_IsItsBytes()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, 1024, 1024);
        x.UniformInPlace(0, 1);
        using var trace = Trace.Start(s_options);

        using (TensorScope.Open())
        {
            _ = x + x;
            _ = x + x;
        }
        _ = x + x;

        var report = trace.Stop();
        var add = report.Operators.Single(o => o.Name == "aten::add");
        Assert.Equal(3L * 4 * 1024 * 1024, add.Allocated);
        Assert.Equal(4L * 1024 * 1024, add.Peak);
        // Two at once inside the inner scope, then one.
        Assert.Equal(2L * 4 * 1024 * 1024, report.PeakMemory);
    }

    [Fact]
    public void Start_Twice_IsRefusedAndAnEndedTraceLeavesNothing()
    {
        using (Trace.Start(s_options))
        {
            Assert.Contains("traced already", Assert.Throws<NativeException>(() => Trace.Start(s_options)).Message);
            Assert.NotNull(Trace.Current);
        }
        Assert.Null(Trace.Current);
        Assert.False(Trace.IsRunning);
        using var scope = TensorScope.Open();
        using var again = Trace.Start(s_options);
        _ = Tensor.Scalar(1) + 1;
        Assert.Single(again.Stop().Operators, o => o.Name == "aten::add");
    }

    [Fact]
    public void Start_OnAnotherThread_RecordsThatThreadAlone()
    {
        using var scope = TensorScope.Open();
        using var trace = Trace.Start(s_options);
        var other = new Thread(() =>
        {
            using var inner = TensorScope.Open();
            _ = Tensor.Scalar(1) * 2;
            using var own = Trace.Start(s_options);
            _ = Tensor.Scalar(1) - 2;
            Assert.DoesNotContain(own.Stop().Operators, o => o.Name == "aten::mul");
        });
        other.Start();
        other.Join();
        _ = Tensor.Scalar(1) + 1;

        var report = trace.Stop();

        Assert.Contains(report.Operators, o => o.Name == "aten::add");
        Assert.DoesNotContain(report.Operators, o => o.Name is "aten::mul" or "aten::sub");
    }

    [Fact]
    public void MaxEvents_Reached_CountsWhatIsLeftOut()
    {
        using var scope = TensorScope.Open();
        var x = Tensor.Scalar(1);
        using var trace = Trace.Start(s_options with { MaxEvents = 10 });
        for (var i = 0; i < 100; i++)
        {
            _ = x + x;
        }

        var report = trace.Stop();

        Assert.Equal(10, report.Events.Count);
        Assert.Equal(90, report.Dropped);
        Assert.Contains(report.Notes, n => n.StartsWith("90 events"));
    }

    [Fact]
    public void Range_Named_HoldsWhatRunsInIt()
    {
        using var scope = TensorScope.Open();
        using var trace = Trace.Start(s_options);
        using (Trace.Range("mine"))
        {
            _ = Tensor.Scalar(1) + 1;
        }

        var events = trace.Stop().Events;

        var mine = events.Select((e, i) => (e, i)).Single(p => p.e.Kind == TraceEventKind.User);
        Assert.Equal("mine", mine.e.Name);
        Assert.Contains(events, e => e.Name == "aten::add" && e.Parent == mine.i);
    }

    [Fact]
    public void ChromeTrace_OfAStep_IsValidTraceEventFormat()
    {
        using var net = Net();
        using var optimizer = new AdamW(net);
        using var x = TensorHandle.Filled(0.5f, 8, 1, 6, 6);
        using var y = TensorHandle.From<long>(new long[8], 8);
        using var trace = Trace.Start(s_options);
        Step(net, optimizer, x, y);
        trace.NextStep();
        var report = trace.Stop();
        using var file = new MemoryStream();

        ChromeTrace.Write(report, file);

        var root = JsonDocument.Parse(file.ToArray()).RootElement;
        var events = root.GetProperty("traceEvents").EnumerateArray().ToList();
        var complete = events.Where(e => e.GetProperty("ph").GetString() == "X").ToList();
        Assert.Equal(report.Events.Count, complete.Count);
        Assert.All(events, e => Assert.True(e.GetProperty("name").GetString()!.Length > 0 && e.GetProperty("pid").ValueKind == JsonValueKind.Number && e.GetProperty("tid").ValueKind == JsonValueKind.Number));
        Assert.All(complete, e => Assert.True(e.GetProperty("ts").GetDouble() >= 0 && e.GetProperty("dur").GetDouble() >= 0 && e.GetProperty("cat").GetString()!.Length > 0));
        Assert.Single(events, e => e.GetProperty("ph").GetString() == "i" && e.GetProperty("s").GetString() == "p");
        Assert.All(events, e => Assert.Contains(e.GetProperty("ph").GetString(), (string[])["X", "M", "i"]));
        // Complete events of one thread nest: none crosses another's end.
        foreach (var thread in complete.GroupBy(e => e.GetProperty("tid").GetInt64()))
        {
            var open = new Stack<double>();
            foreach (var e in thread.OrderBy(e => e.GetProperty("ts").GetDouble()).ThenByDescending(e => e.GetProperty("dur").GetDouble()))
            {
                var (begin, end) = (e.GetProperty("ts").GetDouble(), e.GetProperty("ts").GetDouble() + e.GetProperty("dur").GetDouble());
                while (open.Count > 0 && open.Peek() <= begin + 1e-6)
                {
                    open.Pop();
                }
                Assert.True(open.Count == 0 || end <= open.Peek() + 1e-6);
                open.Push(end);
            }
        }
    }

    [Fact]
    public void Document_OfATrace_HoldsTheTableAndTheSummary()
    {
        using var scope = TensorScope.Open();
        using var trace = Trace.Start(s_options);
        _ = Tensor.Empty(Dtype.Float32, 3, 5).MatMul(Tensor.Empty(Dtype.Float32, 5, 7));
        var report = trace.Stop();

        var document = JsonDocument.Parse(TraceDocument.Of(report).ToJson()).RootElement;

        Assert.Equal("deepseek.trace/1", document.GetProperty("format").GetString());
        Assert.Equal(report.Summary, document.GetProperty("summary").GetString());
        Assert.Equal(210, document.GetProperty("flops").GetDouble());
        var row = document.GetProperty("byShape").EnumerateArray().Single(o => o.GetProperty("name").GetString() == "aten::matmul");
        Assert.Equal("[3,5] [5,7]", row.GetProperty("shapes").GetString());
        Assert.Equal(JsonValueKind.Null, row.GetProperty("occupancy").ValueKind);
        Assert.Contains("matmul", TraceTable.Of(report));
    }

    [Fact]
    public void Trace_OnAGpu_TimesItsOperators()
    {
        var device = Gpu.Require();
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, device, 4096, 4096);
        x.UniformInPlace(-1, 1);
        _ = x.MatMul(x);
        using var trace = Trace.Start(new TraceOptions { Device = device, Ceilings = Ceilings.Known });
        _ = x.MatMul(x);

        var report = trace.Stop();

        var product = report.Operators.Single(o => o.Name == "aten::matmul");
        // 137 GFLOP: between 1 PFLOP/s and 5 TFLOP/s.
        Assert.InRange(product.DeviceTime!.Value, 1.3e-4, 2.8e-2);
    }

    [Fact]
    public void Trace_OfKernelsOnAGpu_TellsTheirOccupancyAndWhoAskedForThem()
    {
        var device = Gpu.Require();
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.BFloat16, device, 2048, 2048);
        x.UniformInPlace(-1, 1);
        using var capture = new Capture(device, inputs => inputs[0].MatMul(inputs[0]).GeluTanh());
        for (var i = 0; i < 5; i++)
        {
            capture.Run(x);
        }
        using var trace = Trace.Start(new TraceOptions { Device = device, Ceilings = Ceilings.Known });
        _ = x.MatMul(x).GeluTanh();
        _ = capture.Run(x);
        var report = trace.Stop();

        Assert.Contains(report.Notes, n => n.Contains("Occupancy is theoretical"));
        var product = report.Operators.Single(o => o.Name == "aten::matmul");
        // 17 GFLOP: between 1 PFLOP/s and 10 TFLOP/s.
        Assert.InRange(product.DeviceTime!.Value, 1.7e-5, 1.7e-3);
        Assert.InRange(product.Occupancy!.Value, 1e-3, 1);
        Assert.True(product.Waves > 0);
        var replay = report.Operators.Single(o => o.Name == "deepseek::graph_replay");
        Assert.InRange(replay.DeviceTime!.Value, 1.7e-5, 1.7e-3);
        var replayed = report.Kernels.Where(k => k.Replayed > 0).ToList();
        Assert.True(replayed.Count >= 2, string.Join('\n', report.Kernels));
        // Both ways run the same kernel of GELU.
        Assert.Contains(replayed, k => k is { Calls: 2, Replayed: 1, Occupancy: > 0 } && k.Operators.Contains("deepseek::graph_replay") && k.Operators.Count == 2);
        Assert.True(report.Kernels.Sum(k => k.Time) <= report.Duration);
        using var file = new MemoryStream();
        ChromeTrace.Write(report, file);
        var lanes = JsonDocument.Parse(file.ToArray()).RootElement.GetProperty("traceEvents").EnumerateArray()
            .Where(e => e.GetProperty("ph").GetString() == "X" && e.GetProperty("cat").GetString() == "kernel").ToList();
        Assert.Equal(report.Kernels.Where(k => k.Kind == DeviceWorkKind.Kernel).Sum(k => k.Calls), lanes.Count);
        Assert.All(lanes, e => Assert.InRange(e.GetProperty("args").GetProperty("occupancy").GetDouble(), 1e-3, 1));
    }

    private static Sequential Net() => new(new Conv2d(1, 4, 3, padding: 1), new Activation(ActivationKind.Relu), new Flatten(), new Linear(4 * 36, 5));

    private static void Step(Module net, Optimizer optimizer, TensorHandle x, TensorHandle y)
    {
        using var scope = TensorScope.Open();
        var loss = Losses.CrossEntropy(net.Forward(x.Tensor), y.Tensor);
        loss.Backward();
        optimizer.Step(1e-3);
        optimizer.ClearGradients();
    }
}
