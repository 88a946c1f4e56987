using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>What a run's steps took. The members are those of the training service's RunUsage.</summary>
internal sealed record UsageRecord(long Steps, double Seconds, double Waiting, string Type, double? Flops, double? Bytes, int? Calls, long? Memory, long? MemoryLimit);

/// <summary>
/// Times the steps of a run and counts the work of one of them, from a trace of the host's calls, which changes no bit of the training.
/// </summary>
/// <param name="traced">The trace that the spec asks for: a thread has one at a time.</param>
internal sealed class StepUsage(TraceSpec? traced) : IDisposable
{
    // In the first ones libraries set themselves up, and GPUs capture.
    private const int Settled = 5;

    // The counted step's times are held against nothing.
    private static readonly DeviceCeilings s_none = new() { FlopRates = new Dictionary<string, double>(), Bandwidth = double.PositiveInfinity, CallSeconds = 0, Source = "none" };

    private readonly long _countAt = traced is { After: <= 1 } trace ? trace.After + trace.Steps : 1;
    private Trace? _counting;
    private TraceReport? _counted;
    private long? _memory;
    private long _steps;
    private double _seconds;
    private double _waiting;

    internal void BeforeStep()
    {
        if (_steps == _countAt)
        {
            _counting = Trace.Start(new TraceOptions { Device = Device.Cpu, Memory = false, Ceilings = s_none });
        }
    }

    /// <param name="replayed">Whether the step was a recording's, of which the host sees no operators.</param>
    internal void AfterStep(bool replayed)
    {
        if (_counting is { } counting)
        {
            var report = counting.Stop();
            _counted = replayed ? null : report;
            _counting = null;
        }
        _steps++;
    }

    /// <summary>Part of a step's time that passed until its batch was there.</summary>
    internal void Waited(TimeSpan time) => _waiting += _steps >= Settled ? time.TotalSeconds : 0;

    /// <summary>Time of a step, or of waiting for the device to end some.</summary>
    internal void Took(TimeSpan time) => _seconds += _steps >= Settled ? time.TotalSeconds : 0;

    internal void Held(IReadOnlyList<PhaseMemory> phases) => _memory = phases.Count > 0 ? phases.Max(phase => phase.Peak) : null;

    /// <summary>Null after fewer steps than say anything.</summary>
    internal UsageRecord? Record(ComputePlan compute)
    {
        var type = compute.Precision switch { RunPrecision.Fp32 => "float32", RunPrecision.Fp16 => "float16", _ => "bfloat16" };
        var limit = compute.Device.IsCuda ? CudaDevice.Info(compute.Device.Index).TotalMemory : MemoryAdvice.HostLimit;
        return _steps <= Settled ? null
            : new UsageRecord(_steps - Settled, _seconds, _waiting, type, _counted?.Flops, _counted?.Bytes, _counted?.Calls, _memory, limit > 0 ? limit : null);
    }

    public void Dispose() => _counting?.Dispose();
}
