using System.Runtime.InteropServices;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Profiling;

namespace DeepSeek.Engine.Cuda;

/// <summary>A queue of device work beside the default one.</summary>
public sealed unsafe class CudaStream : SafeHandle
{
    /// <summary>Takes a stream of the device's pool.</summary>
    public CudaStream(int device = 0, bool highPriority = false) : base(0, ownsHandle: true)
    {
        nint stream;
        NativeMethods.Check(NativeMethods.ds_stream_new(device, highPriority ? 1 : 0, &stream));
        SetHandle(stream);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Sends this thread's operators here until disposed; work before and after it stays in order.</summary>
    public Current Enter()
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        nint previous;
        NativeMethods.Check(NativeMethods.ds_stream_enter(handle, &previous));
        GC.KeepAlive(this);
        return new Current(previous);
    }

    /// <summary>Waits for the stream's work.</summary>
    public void Synchronize()
    {
        NativeMethods.Check(NativeMethods.ds_stream_synchronize(handle));
        GC.KeepAlive(this);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => NativeMethods.ds_stream_free(handle) == 0;

    /// <summary>The time in which a stream is current.</summary>
    public readonly ref struct Current
    {
        private readonly nint _previous;

        internal Current(nint previous) => _previous = previous;

        /// <summary>Goes back to the stream before.</summary>
        public void Dispose() => NativeMethods.Check(NativeMethods.ds_stream_leave(_previous));
    }
}

/// <summary>A mark in a stream, to time device work.</summary>
public sealed unsafe class CudaEvent : SafeHandle
{
    /// <summary>Makes an unrecorded mark.</summary>
    public CudaEvent() : base(0, ownsHandle: true)
    {
        nint made;
        NativeMethods.Check(NativeMethods.ds_event_new(&made));
        SetHandle(made);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Marks the present end of the current stream.</summary>
    public void Record()
    {
        NativeMethods.Check(NativeMethods.ds_event_record(handle));
        GC.KeepAlive(this);
    }

    /// <summary>Milliseconds of device time since an earlier mark; waits for both.</summary>
    public double Since(CudaEvent begin)
    {
        double milliseconds;
        NativeMethods.Check(NativeMethods.ds_event_elapsed(begin.handle, handle, &milliseconds));
        GC.KeepAlive(begin);
        GC.KeepAlive(this);
        return milliseconds;
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => NativeMethods.ds_event_free(handle) == 0;
}

/// <summary>A recorded sequence of device work.</summary>
internal sealed unsafe class CudaGraph : SafeHandle
{
    internal CudaGraph() : base(0, ownsHandle: true)
    {
        nint graph;
        NativeMethods.Check(NativeMethods.ds_graph_new(&graph));
        SetHandle(graph);
    }

    public override bool IsInvalid => handle == 0;

    internal void Begin() => NativeMethods.Check(NativeMethods.ds_graph_begin(handle));

    internal void End() => NativeMethods.Check(NativeMethods.ds_graph_end(handle));

    /// <summary>Ends a recording that failed; its own error says nothing new.</summary>
    internal void Abandon() => _ = NativeMethods.ds_graph_end(handle);

    internal void Replay()
    {
        using var traced = Trace.IsRunning ? Trace.Enter(TraceEventKind.Operator, "deepseek::graph_replay") : default;
        NativeMethods.Check(NativeMethods.ds_graph_replay(handle));
    }

    protected override bool ReleaseHandle() => NativeMethods.ds_graph_free(handle) == 0;
}
