using DeepSeek.Engine.Native;

namespace DeepSeek.Engine.Tensors;

/// <summary>Stops recording for differentiation on this thread until disposed.</summary>
public readonly unsafe ref struct NoGrad
{
    private readonly int _previous;

    private NoGrad(int previous) => _previous = previous;

    /// <summary>Whether operations were recorded before.</summary>
    internal bool WasRecording => _previous != 0;

    /// <summary>Stops recording.</summary>
    public static NoGrad Enter()
    {
        int previous;
        NativeMethods.Check(NativeMethods.ds_autograd_set_recording(0, &previous));
        return new NoGrad(previous);
    }

    /// <summary>Restores the former setting.</summary>
    public void Dispose()
    {
        int ignored;
        NativeMethods.Check(NativeMethods.ds_autograd_set_recording(_previous, &ignored));
    }
}

/// <summary>Inference mode of this thread until disposed: no recording and no version counting; its tensors cannot enter training.</summary>
public readonly unsafe ref struct InferenceMode
{
    private readonly nint _guard;

    private InferenceMode(nint guard) => _guard = guard;

    /// <summary>Enters inference mode.</summary>
    public static InferenceMode Enter()
    {
        nint guard;
        NativeMethods.Check(NativeMethods.ds_autograd_enter_inference(&guard));
        return new InferenceMode(guard);
    }

    /// <summary>Leaves inference mode.</summary>
    public void Dispose() => NativeMethods.Check(NativeMethods.ds_autograd_leave_inference(_guard));
}

/// <summary>
/// Until disposed, tensor handles made on this thread have sizes and a type but no elements: a net of any size can be built to look
/// at its parameters, in no memory.
/// </summary>
public readonly ref struct MetaDevice
{
    internal const int Type = 14;

    [ThreadStatic] private static int t_depth;

    internal static bool Entered => t_depth > 0;

    /// <summary>Enters.</summary>
    public static MetaDevice Enter()
    {
        t_depth++;
        return default;
    }

    /// <summary>Leaves.</summary>
    public void Dispose() => t_depth--;
}
