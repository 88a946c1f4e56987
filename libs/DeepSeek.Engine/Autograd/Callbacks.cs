using System.Runtime.InteropServices;
using System.Text;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Autograd;

/// <summary>What a backward pass needs of one step of the graph that is computed in C#; disposed with the graph.</summary>
internal interface IBackwardContext : IDisposable
{
    /// <summary>From the gradients of the outputs to those of the inputs; <c>default</c> stands for none in both.</summary>
    void Run(ReadOnlySpan<Tensor> gradients, Span<Tensor> inputGradients);
}

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
            var saved = (IBackwardContext)GCHandle.FromIntPtr(context).Target!;
            var given = new Tensor[count];
            for (var i = 0; i < count; i++)
            {
                given[i] = gradients[i] == 0 ? default : Borrow(gradients[i]);
            }
            var results = new Tensor[inputCount];
            saved.Run(given, results);
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

    /// <summary>Makes the outputs, computed unrecorded from the inputs, one step of the graph; on failure the context is disposed.</summary>
    internal static void Attach(IBackwardContext context, ReadOnlySpan<nint> inputs, ReadOnlySpan<nint> outputs)
    {
        var held = GCHandle.Alloc(context);
        int status;
        fixed (nint* sources = inputs)
        fixed (nint* results = outputs)
        {
            status = NativeMethods.ds_autograd_attach(sources, inputs.Length, results, outputs.Length, &Backward, &Release, GCHandle.ToIntPtr(held));
        }
        if (status != 0)
        {
            held.Free();
            context.Dispose();
        }
        NativeMethods.Check(status);
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
        // libtorch carries the kind of failure only where it can be acted on.
        return fault is NativeException { Status: NativeStatus.OutOfMemory } ? (int)NativeStatus.OutOfMemory : (int)NativeStatus.InvalidArgument;
    }
}
