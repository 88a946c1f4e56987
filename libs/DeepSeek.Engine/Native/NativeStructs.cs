using System.Runtime.InteropServices;

namespace DeepSeek.Engine.Native;

/// <summary>Kinds of values in an operator call; twin of DS_VALUE_* in op.h.</summary>
internal enum ValueKind
{
    Default = 0,
    None = 1,
    Tensor = 2,
    Int = 3,
    Double = 4,
    Bool = 5,
    IntList = 6,
    DoubleList = 7,
    BoolList = 8,
    TensorList = 9,
    String = 10,
    Device = 11,
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeValue
{
    internal ValueKind Kind;
    internal int Count;
    internal long Bits;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeTensorInfo
{
    internal const int MaxRank = 16;
    internal uint Size;
    internal int Dtype;
    internal int DeviceType;
    internal int DeviceIndex;
    internal int Rank;
    internal int Contiguous;
    internal int RequiresGrad;
    internal int ElementSize;
    internal long Elements;
    internal fixed long Sizes[MaxRank];
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeMemoryStats
{
    internal uint Size;
    internal uint Reserved;
    internal long LiveHandles;
    internal long Resident;
    internal long PeakResident;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeAllocatorStats
{
    internal uint Size;
    internal uint Unused;
    internal long Current;
    internal long Peak;
    internal long Allocations;
    internal long Allocated;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeModes
{
    internal uint Size;
    internal int Recording;
    internal int CpuAutocast;
    internal int CudaAutocast;
    internal int Cache;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeCudaDevice
{
    internal const int NameLength = 128;
    internal uint Size;
    internal int Major;
    internal int Minor;
    internal int Multiprocessors;
    internal long TotalMemory;
    internal long FreeMemory;
    internal long L2Cache;
    internal int Threads;
    internal int Blocks;
    internal int Registers;
    internal int SharedMemory;
    internal int ReservedShared;
    internal int Unused;
    internal fixed byte Name[NameLength];
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeCudaMemory
{
    internal uint Size;
    internal uint Unused;
    internal long Allocated;
    internal long PeakAllocated;
    internal long Reserved;
    internal long PeakReserved;
    internal long DeviceAllocations;
    internal long Retries;
    internal long Failures;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeAdamW
{
    internal uint Size;
    internal int Count;
    internal int Decayed;
    internal int Unused;
    internal long Step;
    internal double LearningRate;
    internal double WeightDecay;
    internal double Beta1;
    internal double Beta2;
    internal double Epsilon;
    internal nint* Parameters;
    internal nint* First;
    internal nint* Second;
    internal nint* Masters;
    internal nint Control;
    internal nint Skip;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeAdaptive
{
    internal uint Size;
    internal int Count;
    internal int Decayed;
    internal int Unused;
    internal long Step;
    internal double LearningRate;
    internal double WeightDecay;
    internal double Beta2;
    internal double Epsilon;
    internal double Interpolation;
    internal double Share;
    internal nint* Parameters;
    internal nint* Fast;
    internal nint* Average;
    internal nint* Second;
    internal nint* Masters;
    internal nint Control;
    internal nint Skip;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeSgd
{
    internal uint Size;
    internal int Count;
    internal int Decayed;
    internal int Nesterov;
    internal int FirstStep;
    internal int Unused;
    internal double LearningRate;
    internal double WeightDecay;
    internal double Momentum;
    internal nint* Parameters;
    internal nint* Buffers;
    internal nint* Masters;
    internal nint Control;
    internal nint Skip;
}
