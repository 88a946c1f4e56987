using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Profiling;

/// <summary>What a <see cref="Trace"/> writes down.</summary>
public sealed record TraceOptions
{
    /// <summary>Arguments and results of operators: element types, shapes, and with them operations and bytes.</summary>
    public bool Shapes { get; init; } = true;

    /// <summary>Memory allocated and freed.</summary>
    public bool Memory { get; init; } = true;

    /// <summary>Device whose time is taken besides the host's; the default is the first GPU, where there is one. On the CPU the host's time is the device's.</summary>
    public Device Device { get; init; } = Device.Best;

    /// <summary>Events kept, 1 to 2^31 - 1; further ones are counted and left out. One takes 112 bytes and its share of a step's names.</summary>
    public int MaxEvents { get; init; } = 2_000_000;

    /// <summary>The roof to hold operators against; null takes the device's rating, or measures when there is none.</summary>
    public DeviceCeilings? Ceilings { get; init; }
}

/// <summary>
/// Records what this thread's operators, and the backward passes it starts, do until stopped: <c>using var trace = Trace.Start();</c>, some
/// steps with <see cref="NextStep"/> after each, <see cref="Stop"/>. Modules, backward passes, optimiser steps and waits for batches
/// show up as ranges of their own; <see cref="Range"/> adds more. Nothing is recorded, and nothing costs, while no trace runs.
/// </summary>
public sealed unsafe class Trace : IDisposable
{
    private static int s_running;
    [ThreadStatic] private static Trace? t_current;

    private readonly TraceOptions _options;
    private readonly Dictionary<Module, byte[]> _paths = new(ReferenceEqualityComparer.Instance);
    private readonly List<long> _steps = [];
    private readonly long _start;
    private nint _native;

    private Trace(TraceOptions options)
    {
        _options = options;
        var native = new NativeTraceOptions
        {
            Size = (uint)sizeof(NativeTraceOptions),
            Shapes = options.Shapes ? 1 : 0,
            Memory = options.Memory ? 1 : 0,
            Device = options.Device.IsCuda ? 1 : 0,
            MaxEvents = options.MaxEvents,
        };
        nint handle;
        _start = Stopwatch.GetTimestamp();
        NativeMethods.Check(NativeMethods.ds_trace_start(&native, &handle));
        _native = handle;
    }

    /// <summary>Whether some thread is traced: one read of a field, all that a call costs otherwise.</summary>
    internal static bool IsRunning
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => s_running != 0;
    }

    /// <summary>The trace of this thread, or null.</summary>
    public static Trace? Current => IsRunning ? t_current : null;

    /// <summary>Starts to record this thread.</summary>
    /// <exception cref="NativeException">This thread is traced already.</exception>
    public static Trace Start(TraceOptions? options = null)
    {
        var trace = new Trace(options ?? new TraceOptions());
        t_current = trace;
        Interlocked.Increment(ref s_running);
        return trace;
    }

    /// <summary>Names what follows on this thread until disposed; nothing without a trace.</summary>
    public static TraceRange Range(string name) => Enter(TraceEventKind.User, name);

    /// <summary>The same as a phase of its own beside forward, backward and optimizer, such as evaluation.</summary>
    public static TraceRange Phase(string name) => Enter(TraceEventKind.Phase, name);

    /// <summary>Marks the end of a step: times are told per step too.</summary>
    public void NextStep() => _steps.Add((long)Stopwatch.GetElapsedTime(_start).TotalNanoseconds);

    /// <summary>Ends the recording, on the thread that started it, and adds it up. Waits for the device.</summary>
    public TraceReport Stop()
    {
        ObjectDisposedException.ThrowIf(_native == 0, this);
        End();
        try
        {
            var counts = new NativeTraceCounts { Size = (uint)sizeof(NativeTraceCounts) };
            NativeMethods.Check(NativeMethods.ds_trace_count(_native, &counts));
            var signatures = Signatures(counts);
            var kernels = Kernels(counts, signatures);
            var events = Events(counts, signatures, kernels);
            var ceilings = _options.Ceilings ?? RoofMeasurement.Of(_options.Device, events);
            return new TraceReport(events, counts.Thread, counts.Duration, [.. _steps], ceilings, _options.Device.ToString(), counts.Dropped, _options.Memory ? counts.Peak : null,
                kernels, MultiprocessorLimits.Of(_options.Device));
        }
        finally
        {
            Free();
        }
    }

    /// <summary>Ends the recording, if it has not been stopped, and drops it.</summary>
    public void Dispose()
    {
        if (_native != 0)
        {
            End();
            Free();
        }
    }

    internal static TraceRange Enter(TraceEventKind kind, string name)
    {
        if (Current is null)
        {
            return default;
        }
        // A bar would begin an operator's arguments.
        fixed (byte* text = Encoding.UTF8.GetBytes((kind == TraceEventKind.Operator ? name : name.Replace('|', '/')) + "\0"))
        {
            NativeMethods.Check(NativeMethods.ds_trace_begin((int)kind, text));
        }
        return new TraceRange(open: true);
    }

    internal static TraceRange Enter(Module module)
    {
        if (Current is not { } trace)
        {
            return default;
        }
        fixed (byte* text = trace.PathOf(module))
        {
            NativeMethods.Check(NativeMethods.ds_trace_begin((int)TraceEventKind.Module, text));
        }
        return new TraceRange(open: true);
    }

    private byte[] PathOf(Module module)
    {
        if (!_paths.TryGetValue(module, out var path))
        {
            // A module first seen by itself is a root, named by its type.
            AddPaths(module, module.GetType().Name);
            path = _paths[module];
        }
        return path;
    }

    private void AddPaths(Module module, string path)
    {
        _paths[module] = Encoding.UTF8.GetBytes(path + "\0");
        foreach (var (name, child) in module.Children)
        {
            AddPaths(child, $"{path}.{name}");
        }
    }

    private void End()
    {
        if (t_current == this)
        {
            t_current = null;
            Interlocked.Decrement(ref s_running);
            NativeMethods.Check(NativeMethods.ds_trace_stop(_native));
        }
        else
        {
            throw new InvalidOperationException("A trace ends on the thread that started it.");
        }
    }

    private void Free()
    {
        NativeMethods.Check(NativeMethods.ds_trace_free(_native));
        _native = 0;
    }

    private (string Name, OperatorSignature? Signature)[] Signatures(NativeTraceCounts counts)
    {
        var signatures = new (string Name, OperatorSignature? Signature)[counts.Signatures];
        for (var i = 0; i < signatures.Length; i++)
        {
            var text = Signature(i);
            signatures[i] = text.Contains('|', StringComparison.Ordinal) && OperatorSignature.Parse(text) is var parsed ? (parsed.Name, parsed) : (text, null);
        }
        return signatures;
    }

    // Null where the device's work was not recorded one by one.
    private TraceKernel[]? Kernels(NativeTraceCounts counts, (string Name, OperatorSignature?)[] signatures)
    {
        if (counts.KernelsKnown == 0)
        {
            return null;
        }
        var native = new NativeTraceKernel[counts.Kernels];
        fixed (NativeTraceKernel* kernels = native)
        {
            NativeMethods.Check(NativeMethods.ds_trace_kernels(_native, kernels, native.Length));
        }
        return Array.ConvertAll(native, k => new TraceKernel
        {
            Kind = (DeviceWorkKind)k.Kind,
            Name = signatures[k.Signature].Name,
            Begin = k.Begin,
            End = k.End,
            Event = k.Event,
            Stream = k.Stream,
            Replayed = k.Replayed != 0,
            Bytes = k.Bytes,
            Launch = (DeviceWorkKind)k.Kind != DeviceWorkKind.Kernel ? null
                : new KernelLaunch(k.Grid[0], k.Grid[1], k.Grid[2], k.Block[0], k.Block[1], k.Block[2], k.Registers, k.StaticShared + k.DynamicShared, k.Cluster),
        });
    }

    private TraceEvent[] Events(NativeTraceCounts counts, (string Name, OperatorSignature? Signature)[] signatures, TraceKernel[]? kernels)
    {
        var native = new NativeTraceEvent[counts.Events];
        fixed (NativeTraceEvent* events = native)
        {
            NativeMethods.Check(NativeMethods.ds_trace_events(_native, events, native.Length));
        }
        var work = new double[native.Length];
        foreach (var kernel in kernels ?? [])
        {
            for (var around = kernel.Event; around >= 0; around = native[around].Parent)
            {
                work[around] += kernel.Time;
            }
        }
        return [.. native.Select((e, i) => new TraceEvent
        {
            Kind = (TraceEventKind)e.Kind,
            Name = signatures[e.Signature].Name,
            Signature = signatures[e.Signature].Signature,
            Begin = e.Begin,
            End = e.End,
            Parent = e.Parent,
            Thread = e.Thread,
            Sequence = e.Sequence,
            ForwardThread = e.ForwardThread,
            DeviceBegin = double.IsNaN(e.DeviceBegin) || double.IsNaN(e.DeviceEnd) ? null : e.DeviceBegin,
            DeviceEnd = double.IsNaN(e.DeviceBegin) || double.IsNaN(e.DeviceEnd) ? null : e.DeviceEnd,
            Allocated = e.Allocated,
            Freed = e.Freed,
            Peak = e.Peak,
            Listed = e.Work,
            DeviceWork = kernels is null ? null : work[i],
        })];
    }

    private string Signature(int index)
    {
        long length;
        NativeMethods.Check(NativeMethods.ds_trace_signature(_native, index, null, 0, &length));
        var text = new byte[length];
        fixed (byte* bytes = text)
        {
            NativeMethods.Check(NativeMethods.ds_trace_signature(_native, index, bytes, length, &length));
        }
        return Encoding.UTF8.GetString(text);
    }
}

/// <summary>A range of a trace; ends when disposed, in reverse order of begin.</summary>
public readonly ref struct TraceRange
{
    private readonly bool _open;

    internal TraceRange(bool open) => _open = open;

    /// <summary>Ends the range.</summary>
    public void Dispose()
    {
        if (_open)
        {
            NativeMethods.Check(NativeMethods.ds_trace_end());
        }
    }
}
