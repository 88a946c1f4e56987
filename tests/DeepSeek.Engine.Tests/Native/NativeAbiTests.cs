using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Native;

/// <summary>Each raw export with null handles, null pointers and wrong sizes: a status and a message, never a crash.</summary>
public sealed unsafe class NativeAbiTests
{
    private const int InvalidArgument = (int)NativeStatus.InvalidArgument;

    [Fact]
    public void TensorExports_BadArguments_AreRefused()
    {
        nint tensor;
        void* data;
        long bytes;
        double number;
        long two = 2, negative = -1;
        long* huge = stackalloc long[] { long.MaxValue, long.MaxValue };
        var seventeen = stackalloc long[17];
        var info = new NativeTensorInfo { Size = 1 };
        var right = new NativeTensorInfo { Size = (uint)sizeof(NativeTensorInfo) };
        float* values = stackalloc float[2];
        using var owner = TensorHandle.Filled(1, 2);
        using var scope = TensorScope.Open();
        var transposed = TensorHandle.Filled(1, 2, 3).Tensor.Transpose(0, 1);

        Refused(NativeMethods.ds_tensor_empty(null, 1, 6, 0, -1, &tensor), "sizes are null");
        Refused(NativeMethods.ds_tensor_empty(&two, 1, 6, 0, -1, null), "output pointer");
        Refused(NativeMethods.ds_tensor_empty(&two, -1, 6, 0, -1, &tensor), "rank");
        Refused(NativeMethods.ds_tensor_empty(seventeen, 17, 6, 0, -1, &tensor), "rank");
        Refused(NativeMethods.ds_tensor_empty(&negative, 1, 6, 0, -1, &tensor), "negative");
        Refused(NativeMethods.ds_tensor_empty(huge, 2, 6, 0, -1, &tensor), "overflow");
        Refused(NativeMethods.ds_tensor_empty(&two, 1, 99, 0, -1, &tensor), "element type");
        Refused(NativeMethods.ds_tensor_empty(&two, 1, 6, 7, -1, &tensor), "device type");
        Refused(NativeMethods.ds_tensor_empty(&two, 1, 6, 1, 1000, &tensor), "device index");
        Refused(NativeMethods.ds_tensor_from_blob(null, 8, &two, 1, 6, &tensor), "data is null");
        Refused(NativeMethods.ds_tensor_from_blob(values, 7, &two, 1, 6, &tensor), "byte count");
        Refused(NativeMethods.ds_tensor_from_blob(values, 8, &two, 1, 6, null), "output pointer");
        Refused(NativeMethods.ds_tensor_alias(0, &tensor), "handle is null");
        Refused(NativeMethods.ds_tensor_alias(owner.Native, null), "output pointer");
        Refused(NativeMethods.ds_tensor_free(0), "handle is null");
        Refused(NativeMethods.ds_tensor_free_many(null, 1), "handles are null");
        Refused(NativeMethods.ds_tensor_free_many(null, -1), "negative");
        Refused(NativeMethods.ds_tensor_get_info(owner.Native, null), "output pointer");
        Refused(NativeMethods.ds_tensor_get_info(owner.Native, &info), "size");
        Refused(NativeMethods.ds_tensor_get_info(0, &right), "handle is null");
        Refused(NativeMethods.ds_tensor_data(0, &data, &bytes), "handle is null");
        Refused(NativeMethods.ds_tensor_data(owner.Native, null, &bytes), "output pointer");
        Refused(NativeMethods.ds_tensor_data(transposed.Handle, &data, &bytes), "contiguous");
        Refused(NativeMethods.ds_tensor_read(0, values, 8), "handle is null");
        Refused(NativeMethods.ds_tensor_read(owner.Native, values, 4), "byte count");
        Refused(NativeMethods.ds_tensor_read(owner.Native, null, 8), "destination");
        Refused(NativeMethods.ds_tensor_write(0, values, 8), "handle is null");
        Refused(NativeMethods.ds_tensor_write(owner.Native, values, 4), "byte count");
        Refused(NativeMethods.ds_tensor_write(owner.Native, null, 8), "source");
        Refused(NativeMethods.ds_tensor_item(0, &number), "handle is null");
        Refused(NativeMethods.ds_tensor_item(owner.Native, &number), "one element");
        Refused(NativeMethods.ds_tensor_item(owner.Native, null), "output pointer");
    }

    [Fact]
    public void OperatorExports_BadArguments_AreRefused()
    {
        int op, count;
        var value = new NativeValue { Kind = ValueKind.Tensor };
        NativeValue result;
        fixed (byte* name = "aten::relu\0"u8, nothing = "aten::no_such_operator\0"u8, empty = "\0"u8)
        {
            Refused(NativeMethods.ds_op_find(null, empty, &op), "null");
            Refused(NativeMethods.ds_op_find(name, null, &op), "null");
            Refused(NativeMethods.ds_op_find(name, empty, null), "output pointer");
            Assert.Equal((int)NativeStatus.NotFound, NativeMethods.ds_op_find(nothing, empty, &op));
            Assert.Equal(0, NativeMethods.ds_op_find(name, empty, &op));
        }

        Refused(NativeMethods.ds_op_call(-1, &value, 1, &result, 1, &count), "number is unknown");
        Refused(NativeMethods.ds_op_call(int.MaxValue, &value, 1, &result, 1, &count), "number is unknown");
        Refused(NativeMethods.ds_op_call(op, null, 1, &result, 1, &count), "arguments are null");
        Refused(NativeMethods.ds_op_call(op, &value, -1, &result, 1, &count), "negative");
        Refused(NativeMethods.ds_op_call(op, &value, 1, null, 1, &count), "results are null");
        Refused(NativeMethods.ds_op_call(op, &value, 1, &result, 1, null), "result count");
        Refused(NativeMethods.ds_op_call(op, &value, 1, &result, 1, &count), "handle is null");
        Refused(NativeMethods.ds_op_call(op, &value, 0, &result, 1, &count), "self is missing");
        value.Kind = ValueKind.Int;
        Refused(NativeMethods.ds_op_call(op, &value, 1, &result, 1, &count), "argument self is Tensor");
        value.Kind = (ValueKind)77;
        Refused(NativeMethods.ds_op_call(op, &value, 1, &result, 1, &count), "argument self is Tensor");
        var two = stackalloc NativeValue[2];
        Refused(NativeMethods.ds_op_call(op, two, 2, &result, 1, &count), "takes 1 arguments");
        using var owner = TensorHandle.Filled(1, 2);
        value = new NativeValue { Kind = ValueKind.Tensor, Bits = owner.Native };
        Refused(NativeMethods.ds_op_call(op, &value, 1, &result, 0, &count), "room for 0");
        Assert.Equal(1, count);
    }

    [Fact]
    public void OperatorExport_NullList_IsRefused()
    {
        int op, count;
        NativeValue result;
        fixed (byte* name = "aten::cat\0"u8, empty = "\0"u8)
        {
            Assert.Equal(0, NativeMethods.ds_op_find(name, empty, &op));
        }
        var list = new NativeValue { Kind = ValueKind.TensorList, Count = 2 };
        Refused(NativeMethods.ds_op_call(op, &list, 1, &result, 1, &count), "list is null");
        var handles = stackalloc nint[2];
        list.Bits = (nint)handles;
        Refused(NativeMethods.ds_op_call(op, &list, 1, &result, 1, &count), "handle is null");
        list.Count = -1;
        Refused(NativeMethods.ds_op_call(op, &list, 1, &result, 1, &count), "negative count");
    }

    [Fact]
    public void AutogradExports_BadArguments_AreRefused()
    {
        nint gradient;
        using var owner = TensorHandle.Filled(1, 2);
        using var several = TensorHandle.Filled(1, 2).WithGrad();
        var nothing = stackalloc nint[1];

        Refused(NativeMethods.ds_autograd_backward(0, 0, 0), "handle is null");
        Refused(NativeMethods.ds_autograd_backward(owner.Native, 0, 0), "requires a gradient");
        Refused(NativeMethods.ds_autograd_backward(several.Native, 0, 0), "needs a gradient");
        Refused(NativeMethods.ds_autograd_set_requires_grad(0, 1), "handle is null");
        Refused(NativeMethods.ds_autograd_grad(0, &gradient), "handle is null");
        Refused(NativeMethods.ds_autograd_grad(owner.Native, null), "output pointer");
        Refused(NativeMethods.ds_autograd_clear_grads(null, 1), "handles are null");
        Refused(NativeMethods.ds_autograd_clear_grads(nothing, 1), "handle is null");
        Refused(NativeMethods.ds_autograd_set_recording(0, null), "output pointer");
        Refused(NativeMethods.ds_autograd_enter_inference(null), "output pointer");
        Refused(NativeMethods.ds_autograd_leave_inference(0), "guard is null");
    }

    [Fact]
    public void OtherExports_BadArguments_AreRefused()
    {
        long bytes;
        double norm;
        var byteBuffer = stackalloc byte[8];
        var memory = new NativeMemoryStats { Size = 3 };
        var adamw = new NativeAdamW { Size = 3 };
        var sgd = new NativeSgd { Size = 3 };
        var nothing = stackalloc nint[1];

        Refused(NativeMethods.ds_core_version(null), "output pointer");
        Refused(NativeMethods.ds_random_get_state(byteBuffer, 8, &bytes), "too small");
        Refused(NativeMethods.ds_random_get_state(null, 0, null), "output pointer");
        Refused(NativeMethods.ds_random_set_state(null, 8), "buffer is null");
        Refused(NativeMethods.ds_random_set_state(byteBuffer, 8), "size");
        Refused(NativeMethods.ds_device_set_threads(0), "between 1 and 1024");
        Refused(NativeMethods.ds_device_get_threads(null), "output pointer");
        Refused(NativeMethods.ds_device_cuda_count(null), "output pointer");
        Refused(NativeMethods.ds_device_memory(null), "output pointer");
        Refused(NativeMethods.ds_device_memory(&memory), "size");
        Refused(NativeMethods.ds_optim_adamw(null), "null");
        Refused(NativeMethods.ds_optim_adamw(&adamw), "size");
        adamw.Size = (uint)sizeof(NativeAdamW);
        Refused(NativeMethods.ds_optim_adamw(&adamw), "below 1");
        (adamw.Step, adamw.Count) = (1, 1);
        Refused(NativeMethods.ds_optim_adamw(&adamw), "state tensors");
        adamw.First = adamw.Second = nothing;
        Refused(NativeMethods.ds_optim_adamw(&adamw), "parameters are null");
        adamw.Parameters = nothing;
        Refused(NativeMethods.ds_optim_adamw(&adamw), "handle is null");
        Refused(NativeMethods.ds_optim_sgd(null), "null");
        Refused(NativeMethods.ds_optim_sgd(&sgd), "size");
        (sgd.Size, sgd.Momentum) = ((uint)sizeof(NativeSgd), 0.9);
        Refused(NativeMethods.ds_optim_sgd(&sgd), "buffers");
        (sgd.Momentum, sgd.Count) = (0, -1);
        Refused(NativeMethods.ds_optim_sgd(&sgd), "negative");
        Refused(NativeMethods.ds_optim_clip(nothing, 1, -1, &norm), "negative");
        Refused(NativeMethods.ds_optim_clip(nothing, 1, 1, &norm), "handle is null");
        Refused(NativeMethods.ds_optim_scale(null, 1, 1), "parameters are null");
    }

    [Fact]
    public void Enums_OnBothSides_KeepTheirNumbers()
    {
        // These numbers are libtorch's and core.h's and op.h's: change the C++ side with them, and never for a released library.
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7, 11, 15], Enum.GetValues<Dtype>().Select(d => (int)d));
        Assert.Equal(Enumerable.Range(0, 6), Enum.GetValues<NativeStatus>().Select(s => (int)s));
        Assert.Equal(Enumerable.Range(0, 12), Enum.GetValues<ValueKind>().Select(k => (int)k));
        Assert.Equal(Enumerable.Range(0, 3), Enum.GetValues<Reduction>().Select(r => (int)r));
        Assert.Equal(16, sizeof(NativeValue));
    }

    [Fact]
    public void Resolver_ConfiguredPath_IsTheOnlyOneTried()
    {
        Assert.Equal(["/elsewhere/lib.so"], NativeLibraryResolver.Candidates("/elsewhere/lib.so", "/app"));
        Assert.Equal(Path.Combine(Path.GetTempPath(), "libdeepseek.so"), NativeLibraryResolver.Candidates(Path.GetTempPath(), "/app").Single());
        var found = NativeLibraryResolver.Candidates(null, AppContext.BaseDirectory).ToArray();
        Assert.Equal(Path.Combine(AppContext.BaseDirectory, "libdeepseek.so"), found[0]);
        Assert.All(found.Skip(1), path => Assert.EndsWith("artifacts/native/libdeepseek.so", path)); // one in a source tree, none outside
    }

    [Fact]
    public void MemoryExports_BadArguments_AreRefused()
    {
        long bytes;
        var byteBuffer = stackalloc byte[8];
        var nothing = stackalloc nint[1];
        var stats = new NativeAllocatorStats { Size = 3 };
        var modes = new NativeModes { Size = 3 };

        Refused(NativeMethods.ds_allocator_read(0, -1, null), "null");
        Refused(NativeMethods.ds_allocator_read(0, -1, &stats), "size");
        stats.Size = (uint)sizeof(NativeAllocatorStats);
        Refused(NativeMethods.ds_allocator_read(7, 0, &stats), "device type");
        Refused(NativeMethods.ds_allocator_reset_peak(7, 0), "device type");
        Refused(NativeMethods.ds_allocator_set_limit(-1), "negative");
        Refused(NativeMethods.ds_modes_get(null), "null");
        Refused(NativeMethods.ds_modes_get(&modes), "size");
        Refused(NativeMethods.ds_modes_set(&modes), "size");
        Refused(NativeMethods.ds_random_get_device_state(7, 0, null, 0, &bytes), "device type");
        Refused(NativeMethods.ds_random_get_device_state(0, 200, null, 0, &bytes), "device index");
        Refused(NativeMethods.ds_random_set_device_state(0, -1, byteBuffer, 8), "size");
        Refused(NativeMethods.ds_autograd_backward_many(null, null, 1, 0), "handles are null");
        Refused(NativeMethods.ds_autograd_backward_many(nothing, nothing, -1, 0), "negative");
        Refused(NativeMethods.ds_autograd_backward_many(nothing, nothing, 1, 0), "handle is null");
    }

    private static void Refused(int status, string because)
    {
        Assert.Equal(InvalidArgument, status);
        var message = System.Runtime.InteropServices.Marshal.PtrToStringUTF8(NativeMethods.ds_last_error());
        Assert.Contains(because, message);
        Assert.StartsWith("ds_", message);
    }
}
