using System.Runtime.InteropServices;
using DeepSeek.Engine.Native;

namespace DeepSeek.Engine.Tensors;

/// <summary>Owns a tensor that outlives scopes: parameters, buffers, optimiser state, batches.</summary>
public sealed unsafe class TensorHandle : SafeHandle, ITensorOwner
{
    internal TensorHandle(nint native) : base(0, ownsHandle: true) => SetHandle(native);

    /// <summary>An uninitialised CPU tensor (without elements while <see cref="MetaDevice"/> is entered).</summary>
    public static TensorHandle Empty(Dtype dtype, params ReadOnlySpan<long> sizes) => new(Tensors.Tensor.Allocate(dtype, sizes, MetaDevice.Entered ? MetaDevice.Type : 0));

    /// <summary>An uninitialised tensor on a device.</summary>
    public static TensorHandle Empty(Dtype dtype, Device device, params ReadOnlySpan<long> sizes) => new(Tensors.Tensor.Allocate(dtype, device, sizes));

    /// <summary>Zeros of another tensor's shape, layout and device.</summary>
    public static TensorHandle ZerosLike(Tensor tensor, Dtype dtype)
    {
        using var scope = TensorScope.Open();
        return OperatorCall.To(Operators.ZerosLike).Add(tensor).Add(dtype).One().Keep();
    }

    /// <summary>A CPU tensor of zeros.</summary>
    public static TensorHandle Zeros(Dtype dtype, params ReadOnlySpan<long> sizes)
    {
        var handle = Empty(dtype, sizes);
        if (!MetaDevice.Entered)
        {
            handle.Bytes().Clear();
        }
        return handle;
    }

    /// <summary>A CPU tensor of one value.</summary>
    public static TensorHandle Filled(float value, params ReadOnlySpan<long> sizes)
    {
        var handle = Empty(Dtype.Float32, sizes);
        if (!MetaDevice.Entered)
        {
            handle.Span<float>().Fill(value);
        }
        return handle;
    }

    /// <summary>A CPU tensor with a copy of these values.</summary>
    public static TensorHandle From<T>(ReadOnlySpan<T> values, params ReadOnlySpan<long> sizes) where T : unmanaged => new(Tensors.Tensor.Copy(values, sizes));

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The tensor, valid until this is disposed.</summary>
    public Tensor Tensor => new(this, 0, 0);

    internal nint Native => Resolve(0, 0);

    nint ITensorOwner.Resolve(int index, int version) => Resolve(index, version);

    /// <summary>Marks a leaf whose gradient is wanted.</summary>
    public TensorHandle WithGrad(bool required = true)
    {
        NativeMethods.Check(NativeMethods.ds_autograd_set_requires_grad(Native, required ? 1 : 0));
        return this;
    }

    /// <summary>
    /// Moves the tensor in place to a device, and to an element type if one is given, so that everything that holds it follows;
    /// its gradient goes. <paramref name="channelsLast"/> also lays four-dimensional tensors out as [N, H, W, C] in memory.
    /// </summary>
    public void MoveTo(Device device, Dtype? dtype = null, bool channelsLast = false) =>
        NativeMethods.Check(NativeMethods.ds_tensor_move(Native, (int)(dtype ?? Tensor.Dtype), (int)device.Type, device.Index, channelsLast ? 1 : 0));

    /// <summary>The elements in place (contiguous CPU tensors), valid until this is disposed.</summary>
    public Span<T> Span<T>() where T : unmanaged
    {
        if (Dtypes.Of<T>() != Tensor.Dtype)
        {
            throw new ArgumentException($"The tensor holds {Tensor.Dtype}, not {typeof(T).Name}.");
        }
        return MemoryMarshal.Cast<byte, T>(Bytes());
    }

    /// <summary>The bytes in place (contiguous CPU tensors), valid until this is disposed.</summary>
    public Span<byte> Bytes()
    {
        void* data;
        long bytes;
        NativeMethods.Check(NativeMethods.ds_tensor_data(Native, &data, &bytes));
        return new Span<byte>(data, checked((int)bytes));
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => NativeMethods.ds_tensor_free(handle) == 0;

    private nint Resolve(int index, int version)
    {
        _ = index;
        _ = version;
        ObjectDisposedException.ThrowIf(IsClosed, this);
        return handle;
    }
}
