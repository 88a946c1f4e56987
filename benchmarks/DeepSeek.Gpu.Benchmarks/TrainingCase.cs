using System.Diagnostics;
using DeepSeek.Engine;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;
using Trace = DeepSeek.Engine.Profiling.Trace;
using TraceOptions = DeepSeek.Engine.Profiling.TraceOptions;

namespace DeepSeek.Gpu.Benchmarks;

/// <summary>One net with its optimiser and fixed inputs, and its training step, eager or captured.</summary>
internal abstract class TrainingCase(Device device, bool captured) : IDisposable
{
    private readonly Stack<IDisposable> _owned = new();
    private Capture? _capture;
    private Capture? _plain;
    private int _version;
    private Tensor[]? _views;

    protected Device Device => device;

    protected bool Captured => captured;

    protected abstract Module Net { get; }

    protected abstract Optimizer Optimizer { get; }

    protected abstract TensorHandle[] Inputs { get; }

    /// <summary>Who moves layers between precisions, if anyone does.</summary>
    protected virtual PrecisionController? Controller => null;

    internal static TrainingCase Create(string name, int batch, Device device, string mode, string? weights)
    {
        var captured = mode is not ("eager" or "fp8-eager" or "adaptive");
        EngineRuntime.Seed(1);
        if (device.IsCuda)
        {
            CudaDevice.AllowTf32();
            CudaDevice.BenchmarkConvolutions();
            FusedLinear.TuneProducts();
            CudaDevice.ResetPeaks();
        }
        return name switch
        {
            "resnet50" => new ResNetCase(batch, device, captured),
            "gpt2" => new GptCase(new GptConfig { Float32Residual = mode is "captured-float32-residual", HeadRows = HeadRows(mode) }, batch, device, captured, mode, weights),
            _ when GptCase.Wide(name) is { } wide => new GptCase(wide, batch, device, captured, mode, weights),
            _ => new SmallCase(name, batch, device, captured),
        };
    }

    // captured-checkpointed-MIDDLES-ROWS.
    private static int? HeadRows(string mode) => mode.Split('-') is ["captured", "checkpointed", _, var rows] ? int.Parse(rows) : null;

    /// <summary>Most bytes in tensors in each phase of an eager step, in GiB; a recorded step takes the same.</summary>
    internal object Phases()
    {
        var phases = new MemoryPhases(Device);
        using (var scope = TensorScope.Open())
        {
            Tensor[] inputs = [.. Inputs.Select(i => i.Tensor)];
            Tensor loss;
            using (phases.Enter("forward"))
            {
                loss = Loss(inputs);
            }
            using (phases.Enter("backward"))
            {
                loss.Backward();
            }
            using (phases.Enter("optimizer"))
            {
                Optimizer.Step();
                Optimizer.ClearGradients();
            }
        }
        return phases.Measured.ToDictionary(p => p.Name, p => new { before = Gib(p.Before), peak = Gib(p.Peak), after = Gib(p.After) });

        static double Gib(long bytes) => bytes / (double)(1 << 30);
    }

    /// <summary>Traces so many steps: the table of operators and kernels goes to a file, the events to another beside it.</summary>
    internal object Traced(int steps, string file)
    {
        using var trace = Trace.Start(new TraceOptions { Device = Device });
        for (var i = 0; i < steps; i++)
        {
            using var scope = TensorScope.Open();
            _ = Run();
            trace.NextStep();
        }
        var report = trace.Stop();
        File.WriteAllText(file, TraceTable.Of(report, rows: 60) + string.Join('\n', report.Notes) + "\n");
        using var events = File.Create(file + ".json");
        ChromeTrace.Write(report, events);
        return new { summary = report.Summary, kernels = report.Kernels.Count, ms = report.Duration * 1e3 / steps };
    }

    /// <summary>Wall time a step in milliseconds over so many steps, from an idle device to an idle device, and what it took; <paramref name="plain"/>: without the controller.</summary>
    internal object Time(int steps, bool plain = false)
    {
        using var paused = plain ? Controller!.Pause() : null;
        Wait();
        var managed = GC.GetAllocatedBytesForCurrentThread();
        var processor = Process.GetCurrentProcess().TotalProcessorTime;
        var start = Stopwatch.GetTimestamp();
        var looks = 0;
        for (var i = 0; i < steps; i++)
        {
            using var scope = TensorScope.Open();
            looks += !plain && Controller is { IsLooking: true } ? 1 : 0;
            _ = plain ? Replay(ref _plain, 3) : Run();
        }
        Wait();
        var elapsed = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        processor = Process.GetCurrentProcess().TotalProcessorTime - processor;
        managed = GC.GetAllocatedBytesForCurrentThread() - managed;
        var memory = Device.IsCuda ? CudaDevice.Memory() : default;
        return new
        {
            ms = elapsed / steps,
            looks, // steps that a precision controller wanted as written
            precision = Precision,
            planned = Planned,
            cpu_ms = processor.TotalMilliseconds / steps,
            managed_bytes = managed / steps,
            peak_gib = memory.PeakAllocated / (double)(1 << 30),
            reserved_gib = memory.Reserved / (double)(1 << 30),
            device_allocations = memory.DeviceAllocations,
        };
    }

    public virtual void Dispose()
    {
        _capture?.Dispose();
        _plain?.Dispose();
        while (_owned.TryPop(out var owned))
        {
            owned.Dispose();
        }
        Optimizer.Dispose();
        Net.Dispose();
        foreach (var input in Inputs)
        {
            input.Dispose();
        }
    }

    /// <summary>What a planner chose to compute again.</summary>
    internal object? Planned { get; private protected set; }

    /// <summary>What is to be told of the layers' precisions.</summary>
    internal virtual object? Precision => null;

    /// <summary>One step over the fixed inputs; the loss.</summary>
    protected Tensor Run()
    {
        var adaptive = Optimizer as AdaptiveOptimizer;
        adaptive?.Advance();
        var loss = !captured || Controller is { IsLooking: true } ? Step(_views ??= [.. Inputs.Select(i => i.Tensor)]) : Replay();
        adaptive?.Observe(loss);
        Controller?.EndStep(loss);
        return loss;
    }

    private Tensor Replay(ref Capture? capture, int warmup)
    {
        capture ??= new Capture(device, Step, warmup);
        return Inputs is [var x, var y] ? capture.Run(x.Tensor, y.Tensor) : throw new NotSupportedException();
    }

    private Tensor Replay()
    {
        if (Controller is { } controller && controller.Version != _version)
        {
            _capture?.Dispose();
            (_capture, _version) = (null, controller.Version);
        }
        // After a move the new layers have tried out their products in one step.
        return Replay(ref _capture, _version > 0 ? 1 : 3);
    }

    protected abstract Tensor Loss(ReadOnlySpan<Tensor> inputs);

    private Tensor Step(ReadOnlySpan<Tensor> inputs)
    {
        var loss = Loss(inputs);
        loss.Backward();
        Optimizer.Step();
        Optimizer.ClearGradients();
        return loss;
    }

    private void Wait()
    {
        if (device.IsCuda)
        {
            CudaDevice.Synchronize();
        }
    }
}
