using System.Diagnostics;
using DeepSeek.Engine;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Gpu.Benchmarks;

/// <summary>One net with its optimiser and fixed inputs, and its training step, eager or captured.</summary>
internal abstract class TrainingCase(Device device, bool captured) : IDisposable
{
    private readonly Stack<IDisposable> _owned = new();
    private Capture? _capture;
    private Tensor[]? _views;

    protected Device Device => device;

    protected bool Captured => captured;

    protected abstract Module Net { get; }

    protected abstract Optimizer Optimizer { get; }

    protected abstract TensorHandle[] Inputs { get; }

    internal static TrainingCase Create(string name, int batch, Device device, string mode, string? weights)
    {
        var captured = mode is not ("eager" or "fp8");
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
            "gpt2" => new GptCase(new GptConfig { Float32Residual = mode is "captured-float32-residual" }, batch, device, captured, mode, weights),
            "gpt-wide" => new GptCase(new GptConfig { Width = 2048, Layers = 16, Heads = 16 }, batch, device, captured, mode, weights),
            _ => new SmallCase(name, batch, device, captured),
        };
    }

    /// <summary>Wall time a step in milliseconds over so many steps, from an idle device to an idle device, and what it took.</summary>
    internal object Time(int steps)
    {
        Wait();
        var managed = GC.GetAllocatedBytesForCurrentThread();
        var processor = Process.GetCurrentProcess().TotalProcessorTime;
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < steps; i++)
        {
            using var scope = TensorScope.Open();
            _ = Run();
        }
        Wait();
        var elapsed = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        processor = Process.GetCurrentProcess().TotalProcessorTime - processor;
        managed = GC.GetAllocatedBytesForCurrentThread() - managed;
        var memory = Device.IsCuda ? CudaDevice.Memory() : default;
        return new
        {
            ms = elapsed / steps,
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

    /// <summary>One step over the fixed inputs; the loss.</summary>
    protected Tensor Run()
    {
        if (!captured)
        {
            return Step(_views ??= [.. Inputs.Select(i => i.Tensor)]);
        }
        _capture ??= new Capture(device, Step);
        return Inputs is [var x, var y] ? _capture.Run(x.Tensor, y.Tensor) : throw new NotSupportedException();
    }

    protected abstract Tensor Loss(ReadOnlySpan<Tensor> inputs);

    /// <summary>Called in every step between the backward pass and the optimiser.</summary>
    protected virtual void AfterBackward(Tensor loss)
    {
    }

    private Tensor Step(ReadOnlySpan<Tensor> inputs)
    {
        var loss = Loss(inputs);
        loss.Backward();
        AfterBackward(loss);
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
