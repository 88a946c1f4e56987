using System.Runtime.InteropServices;

namespace DeepSeek.Engine.Native;

/// <summary>The exports of libdeepseek (native/include/deepseek), one declaration each; all return a status.</summary>
internal static unsafe partial class NativeMethods
{
    internal const string Library = "deepseek";

    static NativeMethods() => NativeLibraryResolver.Register();

    // core.h
    [LibraryImport(Library)] internal static partial nint ds_last_error();
    [LibraryImport(Library)] internal static partial int ds_core_version(int* libtorch);

    // tensor.h
    [LibraryImport(Library)] internal static partial int ds_tensor_empty(long* sizes, int rank, int dtype, int deviceType, int deviceIndex, nint* tensor);
    [LibraryImport(Library)] internal static partial int ds_tensor_from_blob(void* data, long bytes, long* sizes, int rank, int dtype, nint* tensor);
    [LibraryImport(Library)] internal static partial int ds_tensor_alias(nint tensor, nint* alias);
    [LibraryImport(Library)] internal static partial int ds_tensor_free(nint tensor);
    [LibraryImport(Library)] internal static partial int ds_tensor_free_many(nint* tensors, int count);
    [LibraryImport(Library)] internal static partial int ds_tensor_get_info(nint tensor, NativeTensorInfo* info);
    [LibraryImport(Library)] internal static partial int ds_tensor_data(nint tensor, void** data, long* bytes);
    [LibraryImport(Library)] internal static partial int ds_tensor_read(nint tensor, void* destination, long bytes);
    [LibraryImport(Library)] internal static partial int ds_tensor_write(nint tensor, void* source, long bytes);
    [LibraryImport(Library)] internal static partial int ds_tensor_item(nint tensor, double* value);

    // op.h
    [LibraryImport(Library)] internal static partial int ds_op_find(byte* name, byte* overload, int* op);
    [LibraryImport(Library)] internal static partial int ds_op_call(int op, NativeValue* arguments, int argumentCount, NativeValue* results, int capacity, int* resultCount);

    // autograd.h
    [LibraryImport(Library)] internal static partial int ds_autograd_backward(nint root, nint gradient, int keepGraph);
    [LibraryImport(Library)] internal static partial int ds_autograd_set_requires_grad(nint tensor, int required);
    [LibraryImport(Library)] internal static partial int ds_autograd_grad(nint tensor, nint* gradient);
    [LibraryImport(Library)] internal static partial int ds_autograd_clear_grads(nint* tensors, int count);
    [LibraryImport(Library)] internal static partial int ds_autograd_set_recording(int enabled, int* previous);
    [LibraryImport(Library)] internal static partial int ds_autograd_enter_inference(nint* guard);
    [LibraryImport(Library)] internal static partial int ds_autograd_leave_inference(nint guard);

    // random.h
    [LibraryImport(Library)] internal static partial int ds_random_seed(ulong seed);
    [LibraryImport(Library)] internal static partial int ds_random_get_state(void* buffer, long capacity, long* bytes);
    [LibraryImport(Library)] internal static partial int ds_random_set_state(void* buffer, long bytes);

    // device.h
    [LibraryImport(Library)] internal static partial int ds_device_set_threads(int threads);
    [LibraryImport(Library)] internal static partial int ds_device_get_threads(int* threads);
    [LibraryImport(Library)] internal static partial int ds_device_set_deterministic(int enabled);
    [LibraryImport(Library)] internal static partial int ds_device_cuda_count(int* count);
    [LibraryImport(Library)] internal static partial int ds_device_memory(NativeMemoryStats* stats);

    // optim.h
    [LibraryImport(Library)] internal static partial int ds_optim_adamw(NativeAdamW* step);
    [LibraryImport(Library)] internal static partial int ds_optim_sgd(NativeSgd* step);
    [LibraryImport(Library)] internal static partial int ds_optim_clip(nint* parameters, int count, double limit, double* norm);
    [LibraryImport(Library)] internal static partial int ds_optim_scale(nint* parameters, int count, double factor);

    /// <summary>The one place where a status becomes an exception.</summary>
    internal static void Check(int status)
    {
        if (status != 0)
        {
            throw new NativeException((NativeStatus)status, Marshal.PtrToStringUTF8(ds_last_error()) ?? "");
        }
    }
}
