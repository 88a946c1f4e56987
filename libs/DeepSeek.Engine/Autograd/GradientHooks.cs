using System.Runtime.InteropServices;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Autograd;

/// <summary>Sees a gradient and returns what takes its place, of the same sizes, or <c>default</c> to leave it.</summary>
public delegate Tensor GradientHook(Tensor gradient);

/// <summary>Hooks on the gradients of tensors.</summary>
public static unsafe class GradientHooks
{
    /// <summary>
    /// Calls a hook with the gradient of this tensor whenever a backward pass has it: for a leaf before it is added to what is there, else
    /// before it flows on. The hook runs inside a scope of its own, on whichever thread works on the pass. Disposing removes it.
    /// </summary>
    /// <exception cref="NativeException">The tensor gets no gradient.</exception>
    public static IDisposable OnGradient(this Tensor tensor, GradientHook hook) => new Registration(tensor.Keep(), KeepHook(tensor, hook));

    /// <summary>A hook that stays as long as the graph.</summary>
    internal static uint KeepHook(this Tensor tensor, GradientHook hook)
    {
        var context = GCHandle.Alloc(hook);
        uint id;
        var status = NativeMethods.ds_autograd_add_hook(tensor.Handle, &Callbacks.Hook, &Callbacks.Release, GCHandle.ToIntPtr(context), &id);
        if (status != 0)
        {
            context.Free();
        }
        NativeMethods.Check(status);
        return id;
    }

    private sealed class Registration(TensorHandle tensor, uint id) : IDisposable
    {
        public void Dispose()
        {
            if (!tensor.IsClosed)
            {
                NativeMethods.Check(NativeMethods.ds_autograd_remove_hook(tensor.Native, id));
                tensor.Dispose();
            }
        }
    }
}
