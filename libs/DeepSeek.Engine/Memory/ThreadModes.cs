using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Memory;

/// <summary>What decides, on one thread, how operators compute and whether they are recorded.</summary>
internal readonly unsafe struct ThreadModes
{
    private readonly NativeModes _modes;

    private ThreadModes(NativeModes modes) => _modes = modes;

    internal bool IsRecording => _modes.Recording != 0;

    internal static ThreadModes Get()
    {
        NativeModes modes;
        modes.Size = (uint)sizeof(NativeModes);
        NativeMethods.Check(NativeMethods.ds_modes_get(&modes));
        return new ThreadModes(modes);
    }

    /// <summary>The same with recording on or off, and without the copies of weights that autocast shares: those made unrecorded must not meet recorded ones.</summary>
    internal ThreadModes Apart(bool recording)
    {
        var modes = _modes;
        modes.Recording = recording ? 1 : 0;
        modes.Cache = 0;
        return new ThreadModes(modes);
    }

    /// <summary>The same without autocast.</summary>
    internal ThreadModes WithoutAutocast()
    {
        var modes = _modes;
        modes.CpuAutocast = modes.CudaAutocast = -1;
        return new ThreadModes(modes);
    }

    internal void Set()
    {
        var modes = _modes;
        NativeMethods.Check(NativeMethods.ds_modes_set(&modes));
    }
}

/// <summary>State of the generators that a computation on one device may draw from.</summary>
internal sealed class RandomSnapshot
{
    private readonly Device _device;
    private readonly byte[] _host;
    private readonly byte[]? _own;

    internal RandomSnapshot(Device device)
    {
        _device = device;
        _host = EngineRuntime.RandomState();
        _own = device.IsCuda ? EngineRuntime.RandomState(device) : null;
    }

    internal bool Equals(RandomSnapshot other) => _host.AsSpan().SequenceEqual(other._host) && _own.AsSpan().SequenceEqual(other._own);

    internal void Restore()
    {
        EngineRuntime.RestoreRandomState(_host);
        if (_own is not null)
        {
            EngineRuntime.RestoreRandomState(_own, _device);
        }
    }
}
