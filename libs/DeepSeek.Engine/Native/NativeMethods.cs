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
    [LibraryImport(Library)] internal static partial int ds_tensor_move(nint tensor, int dtype, int deviceType, int deviceIndex, int channelsLast);
    [LibraryImport(Library)] internal static partial int ds_tensor_item(nint tensor, double* value);

    // op.h
    [LibraryImport(Library)] internal static partial int ds_op_find(byte* name, byte* overload, int* op);
    [LibraryImport(Library)] internal static partial int ds_op_call(int op, NativeValue* arguments, int argumentCount, NativeValue* results, int capacity, int* resultCount);

    // autograd.h
    [LibraryImport(Library)] internal static partial int ds_autograd_backward(nint root, nint gradient, int keepGraph);
    [LibraryImport(Library)] internal static partial int ds_autograd_backward_many(nint* roots, nint* gradients, int count, int keepGraph);
    [LibraryImport(Library)] internal static partial int ds_autograd_set_requires_grad(nint tensor, int required);
    [LibraryImport(Library)] internal static partial int ds_autograd_grad(nint tensor, nint* gradient);
    [LibraryImport(Library)] internal static partial int ds_autograd_clear_grads(nint* tensors, int count);
    [LibraryImport(Library)] internal static partial int ds_autograd_set_recording(int enabled, int* previous);
    [LibraryImport(Library)] internal static partial int ds_autograd_enter_inference(nint* guard);
    [LibraryImport(Library)] internal static partial int ds_autograd_leave_inference(nint guard);

    [LibraryImport(Library)] internal static partial int ds_autograd_set_callback_error(byte* text);
    [LibraryImport(Library)] internal static partial int ds_autograd_add_hook(nint tensor, delegate* unmanaged<nint, nint, nint*, int> hook, delegate* unmanaged<nint, void> release, nint context, uint* id);
    [LibraryImport(Library)] internal static partial int ds_autograd_remove_hook(nint tensor, uint id);
    [LibraryImport(Library)] internal static partial int ds_autograd_attach(nint* inputs, int inputCount, nint* outputs, int outputCount, delegate* unmanaged<nint, nint*, int, nint*, int, int> backward, delegate* unmanaged<nint, void> release, nint context);

    // random.h
    [LibraryImport(Library)] internal static partial int ds_random_seed(ulong seed);
    [LibraryImport(Library)] internal static partial int ds_random_get_state(void* buffer, long capacity, long* bytes);
    [LibraryImport(Library)] internal static partial int ds_random_set_state(void* buffer, long bytes);
    [LibraryImport(Library)] internal static partial int ds_random_get_device_state(int deviceType, int deviceIndex, void* buffer, long capacity, long* bytes);
    [LibraryImport(Library)] internal static partial int ds_random_set_device_state(int deviceType, int deviceIndex, void* buffer, long bytes);

    // memory.h
    [LibraryImport(Library)] internal static partial int ds_allocator_read(int deviceType, int deviceIndex, NativeAllocatorStats* stats);
    [LibraryImport(Library)] internal static partial int ds_allocator_reset_peak(int deviceType, int deviceIndex);
    [LibraryImport(Library)] internal static partial int ds_allocator_set_limit(long bytes);
    [LibraryImport(Library)] internal static partial int ds_allocator_keep(long bytes);

    // device.h
    [LibraryImport(Library)] internal static partial int ds_device_set_threads(int threads);
    [LibraryImport(Library)] internal static partial int ds_device_get_threads(int* threads);
    [LibraryImport(Library)] internal static partial int ds_device_set_deterministic(int enabled);
    [LibraryImport(Library)] internal static partial int ds_device_cuda_count(int* count);
    [LibraryImport(Library)] internal static partial int ds_device_memory(NativeMemoryStats* stats);

    // cuda.h
    [LibraryImport(Library)] internal static partial int ds_cuda_device_info(int device, NativeCudaDevice* info);
    [LibraryImport(Library)] internal static partial int ds_cuda_set_device(int device);
    [LibraryImport(Library)] internal static partial int ds_cuda_synchronize(int device);
    [LibraryImport(Library)] internal static partial int ds_cuda_memory_stats(int device, NativeCudaMemory* stats);
    [LibraryImport(Library)] internal static partial int ds_cuda_reset_peaks(int device);
    [LibraryImport(Library)] internal static partial int ds_cuda_empty_cache();
    [LibraryImport(Library)] internal static partial int ds_cuda_allow_tf32(int allowed);
    [LibraryImport(Library)] internal static partial int ds_cuda_benchmark_convolutions(int enabled);
    [LibraryImport(Library)] internal static partial int ds_cuda_allow_attention(int kinds);
    [LibraryImport(Library)] internal static partial int ds_stream_new(int device, int highPriority, nint* stream);
    [LibraryImport(Library)] internal static partial int ds_stream_free(nint stream);
    [LibraryImport(Library)] internal static partial int ds_stream_enter(nint stream, nint* previous);
    [LibraryImport(Library)] internal static partial int ds_stream_leave(nint previous);
    [LibraryImport(Library)] internal static partial int ds_stream_synchronize(nint stream);
    [LibraryImport(Library)] internal static partial int ds_event_new(nint* made);
    [LibraryImport(Library)] internal static partial int ds_event_free(nint mark);
    [LibraryImport(Library)] internal static partial int ds_event_record(nint mark);
    [LibraryImport(Library)] internal static partial int ds_event_synchronize(nint mark);
    [LibraryImport(Library)] internal static partial int ds_event_elapsed(nint begin, nint end, double* milliseconds);
    [LibraryImport(Library)] internal static partial int ds_graph_new(nint* graph);
    [LibraryImport(Library)] internal static partial int ds_graph_free(nint graph);
    [LibraryImport(Library)] internal static partial int ds_graph_begin(nint graph);
    [LibraryImport(Library)] internal static partial int ds_graph_end(nint graph);
    [LibraryImport(Library)] internal static partial int ds_graph_replay(nint graph);

    // precision.h
    [LibraryImport(Library)] internal static partial int ds_autocast_enter(int deviceType, int dtype, int* previous);
    [LibraryImport(Library)] internal static partial int ds_autocast_leave(int deviceType, int previous);
    [LibraryImport(Library)] internal static partial int ds_modes_get(NativeModes* modes);
    [LibraryImport(Library)] internal static partial int ds_modes_set(NativeModes* modes);
    [LibraryImport(Library)] internal static partial int ds_scaler_unscale(nint* parameters, int count, nint scale, nint found);
    [LibraryImport(Library)] internal static partial int ds_scaler_update(nint scale, nint clean, nint found, double growth, double backoff, long interval);

    // optim.h
    [LibraryImport(Library)] internal static partial int ds_optim_adamw(NativeAdamW* step);
    [LibraryImport(Library)] internal static partial int ds_optim_adaptive(NativeAdaptive* step);
    [LibraryImport(Library)] internal static partial int ds_optim_set_adaptive(nint control, double learningRate, double weightDecay, double share, double limit);
    [LibraryImport(Library)] internal static partial int ds_optim_clip_by(nint* parameters, int count, nint control);
    [LibraryImport(Library)] internal static partial int ds_optim_sgd(NativeSgd* step);
    [LibraryImport(Library)] internal static partial int ds_optim_set_rate(nint control, double learningRate);
    [LibraryImport(Library)] internal static partial int ds_optim_clip(nint* parameters, int count, double limit, double* norm);
    [LibraryImport(Library)] internal static partial int ds_optim_scale(nint* parameters, int count, double factor);

    // trace.h
    [LibraryImport(Library)] internal static partial int ds_trace_start(NativeTraceOptions* options, nint* trace);
    [LibraryImport(Library)] internal static partial int ds_trace_stop(nint trace);
    [LibraryImport(Library)] internal static partial int ds_trace_free(nint trace);
    [LibraryImport(Library)] internal static partial int ds_trace_count(nint trace, NativeTraceCounts* counts);
    [LibraryImport(Library)] internal static partial int ds_trace_kernels(nint trace, NativeTraceKernel* kernels, long capacity);
    [LibraryImport(Library)] internal static partial int ds_trace_events(nint trace, NativeTraceEvent* events, long capacity);
    [LibraryImport(Library)] internal static partial int ds_trace_signature(nint trace, int signature, byte* text, long capacity, long* length);
    [LibraryImport(Library)] internal static partial int ds_trace_begin(int kind, byte* name);
    [LibraryImport(Library)] internal static partial int ds_trace_end();

    /// <summary>The one place where a status becomes an exception.</summary>
    internal static void Check(int status)
    {
        if (status != 0)
        {
            throw new NativeException((NativeStatus)status, Marshal.PtrToStringUTF8(ds_last_error()) ?? "");
        }
    }
}
