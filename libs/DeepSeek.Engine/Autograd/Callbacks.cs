using System.Runtime.InteropServices;
using System.Text;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Autograd;

/// <summary>The entry points through which a backward pass calls C#. A context is a GCHandle; exceptions become the pass's error.</summary>
internal static unsafe class Callbacks
{
    [UnmanagedCallersOnly]
    internal static void Release(nint context)
    {
        var handle = GCHandle.FromIntPtr(context);
        (handle.Target as IDisposable)?.Dispose();
        handle.Free();
    }

    [UnmanagedCallersOnly]
    internal static int Hook(nint context, nint gradient, nint* replacement)
    {
        try
        {
            using var scope = TensorScope.Open();
            var hook = (GradientHook)GCHandle.FromIntPtr(context).Target!;
            var result = hook(Borrow(gradient));
            *replacement = result.IsNone ? 0 : Alias(result.Handle);
            return 0;
        }
        catch (Exception fault)
        {
            return Report("A gradient hook", fault);
        }
    }

    [UnmanagedCallersOnly]
    internal static int Backward(nint context, nint* gradients, int count, nint* inputGradients, int inputCount)
    {
        try
        {
            using var scope = TensorScope.Open();
            var saved = (FunctionContext)GCHandle.FromIntPtr(context).Target!;
            var results = new Tensor[inputCount];
            saved.Function.RunBackward(saved, gradients[0] == 0 ? default : Borrow(gradients[0]), results);
            for (var i = 0; i < inputCount; i++)
            {
                inputGradients[i] = results[i].IsNone ? 0 : Alias(results[i].Handle);
            }
            return 0;
        }
        catch (Exception fault)
        {
            return Report("A function's backward pass", fault);
        }
    }

    private static Tensor Borrow(nint handle) => TensorScope.Track(Alias(handle));

    private static nint Alias(nint handle)
    {
        nint alias;
        NativeMethods.Check(NativeMethods.ds_tensor_alias(handle, &alias));
        return alias;
    }

    private static int Report(string where, Exception fault)
    {
        fixed (byte* text = Encoding.UTF8.GetBytes($"{where} failed with {fault.GetType().Name}: {fault.Message}\0"))
        {
            _ = NativeMethods.ds_autograd_set_callback_error(text);
        }
        return 1;
    }
}
