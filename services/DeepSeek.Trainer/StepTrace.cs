using DeepSeek.Contracts.Training;
using DeepSeek.Devices;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>Traces the steps that a spec asks for and writes output/trace.json and output/trace-events.json (Chrome's format). It changes no bit of the training.</summary>
internal sealed class StepTrace(TraceSpec? spec, WorkFolder folder, TrainerEvents events, Device device) : IDisposable
{
    // What the registry takes as JSON.
    private const long LargestFile = 64 << 20;

    private Trace? _trace;
    private TraceDocument? _written;
    private EnergyMeter? _energy;
    private long _steps;

    private bool IsTracing => _trace is not null && _written is null;

    /// <summary>Called before each optimiser step with its batches.</summary>
    internal void BeforeStep()
    {
        if (spec is not null && _steps == spec.After)
        {
            _trace = Trace.Start(new TraceOptions { Device = device });
        }
    }

    /// <summary>Called after each.</summary>
    internal void AfterStep()
    {
        _steps++;
        if (IsTracing)
        {
            _trace!.NextStep();
            if (_steps == spec!.After + spec.Steps)
            {
                Stop();
            }
        }
    }

    /// <summary>At the end of training: writes a trace that the end cut short, and adds the energy of the steps after the trace.</summary>
    internal void Finish()
    {
        if (IsTracing)
        {
            Stop();
        }
        if (_written is not null && _energy?.Read() is { } reading && _steps - spec!.After - _written.Steps is > 0 and var steps)
        {
            Write(_written with { EnergyPerStep = reading.Joules / steps });
        }
    }

    private void Stop()
    {
        var report = _trace!.Stop();
        Directory.CreateDirectory(folder.Output);
        Write(_written = TraceDocument.Of(report));
        using var chrome = new MemoryStream();
        ChromeTrace.Write(report, chrome);
        if (chrome.Length <= LargestFile)
        {
            AtomicFile.Write(Path.Combine(folder.Output, "trace-events.json"), stream => stream.Write(chrome.GetBuffer().AsSpan(0, (int)chrome.Length)));
        }
        else
        {
            events.Warning($"The trace's {report.Events.Count} events are too many to be kept one by one; trace.json has them added up. Trace fewer steps to have both.");
        }
        _energy = EnergyMeter.Of(device.ToString(), TimeProvider.System);
    }

    private void Write(TraceDocument document) => AtomicFile.Write(Path.Combine(folder.Output, "trace.json"), stream => stream.Write(document.ToJson()));

    public void Dispose() => _trace?.Dispose();
}
