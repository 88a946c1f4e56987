using System.Runtime.InteropServices;

namespace DeepSeek.Engine.Native;

/// <summary>Twin of ds_trace_options.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeTraceOptions
{
    internal uint Size;
    internal int Shapes;
    internal int Memory;
    internal int Device;
    internal long MaxEvents;
}

/// <summary>Twin of ds_trace_event.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeTraceEvent
{
    internal long Begin;
    internal long End;
    internal long Sequence;
    internal long Allocated;
    internal long Freed;
    internal long Peak;
    internal long Work;
    internal double DeviceBegin;
    internal double DeviceEnd;
    internal int Kind;
    internal int Signature;
    internal int Parent;
    internal int Thread;
    internal int ForwardThread;
    internal int Unused;
}

/// <summary>Twin of ds_trace_counts.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeTraceCounts
{
    internal uint Size;
    internal int Signatures;
    internal long Events;
    internal long Dropped;
    internal long Duration;
    internal long Peak;
    internal int Thread;
    internal int KernelsKnown;
    internal long Kernels;
}

/// <summary>Twin of ds_trace_kernel.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeTraceKernel
{
    internal long Begin;
    internal long End;
    internal long Bytes;
    internal int Event;
    internal int Signature;
    internal int Kind;
    internal int Stream;
    internal int Replayed;
    internal int Registers;
    internal int StaticShared;
    internal int DynamicShared;
    internal int Cluster;
    internal fixed int Grid[3];
    internal fixed int Block[3];
    internal int Unused;
}
