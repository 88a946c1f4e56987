using System.Globalization;
using DeepSeek.Engine.Native;

namespace DeepSeek.Engine.Tensors;

/// <summary>Kinds of devices the engine computes on, numbered as libtorch numbers them.</summary>
public enum DeviceType
{
    /// <summary>The host's processors and memory.</summary>
    Cpu = 0,
    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 1,
}

/// <summary>A device the engine computes on.</summary>
/// <param name="Type">Kind.</param>
/// <param name="Index">Position among the devices of its kind, from 0; -1 for the CPU.</param>
public readonly record struct Device(DeviceType Type, int Index)
{
    /// <summary>The host.</summary>
    public static Device Cpu => new(DeviceType.Cpu, -1);

    /// <summary>A GPU.</summary>
    public static Device Cuda(int index = 0) => new(DeviceType.Cuda, index);

    /// <summary>The first GPU where libtorch can use one, else the CPU.</summary>
    public static Device Best => EngineRuntime.CudaDevices > 0 ? Cuda() : Cpu;

    /// <summary>Whether it is a GPU.</summary>
    public bool IsCuda => Type == DeviceType.Cuda;

    /// <summary>Reads "cpu", "cuda" or "cuda:1".</summary>
    /// <exception cref="FormatException">The text is none of these.</exception>
    public static Device Parse(string text) => text switch
    {
        "cpu" => Cpu,
        "cuda" => Cuda(),
        _ when text.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out var index) => Cuda(index),
        _ => throw new FormatException($"'{text}' is no device. Write cpu, cuda or cuda:1."),
    };

    /// <inheritdoc/>
    public override string ToString() => IsCuda ? string.Create(CultureInfo.InvariantCulture, $"cuda:{Index}") : "cpu";

    internal static Device Of(NativeTensorInfo info) => info.DeviceType == (int)DeviceType.Cuda ? Cuda(info.DeviceIndex) : Cpu;
}
