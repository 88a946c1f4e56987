using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// Until disposed, operators of this thread on one kind of device take half precision where it is safe (products, convolutions,
/// attention) and float32 where it is not (norms, losses, exponentials). Parameters stay float32; backward follows by itself.
/// </summary>
public readonly unsafe ref struct Autocast
{
    private readonly DeviceType _device;
    private readonly int _previous;

    private Autocast(DeviceType device, int previous) => (_device, _previous) = (device, previous);

    /// <summary>Enters; <paramref name="dtype"/> is BFloat16, or on GPUs also Float16 (then with a <see cref="LossScaler"/>).</summary>
    public static Autocast Enter(DeviceType device, Dtype dtype)
    {
        int previous;
        NativeMethods.Check(NativeMethods.ds_autocast_enter((int)device, (int)dtype, &previous));
        return new Autocast(device, previous);
    }

    /// <summary>Restores the former setting and drops the cast copies of the weights.</summary>
    public void Dispose() => NativeMethods.Check(NativeMethods.ds_autocast_leave((int)_device, _previous));
}
