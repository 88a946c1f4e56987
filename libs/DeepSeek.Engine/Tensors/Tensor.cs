using System.Runtime.CompilerServices;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Profiling;

namespace DeepSeek.Engine.Tensors;

/// <summary>Who keeps a tensor alive: a scope or a handle.</summary>
internal interface ITensorOwner
{
    /// <summary>The native handle; throws when the tensor has been freed since.</summary>
    nint Resolve(int index, int version);
}

/// <summary>
/// A tensor, borrowed from the <see cref="TensorScope"/> in which an operator made it or from a <see cref="TensorHandle"/>.
/// A plain value: making and passing one allocates nothing. Using it after its owner freed it throws.
/// </summary>
public readonly unsafe partial struct Tensor
{
    private readonly ITensorOwner? _owner;
    private readonly int _index;
    private readonly int _version;

    internal Tensor(ITensorOwner owner, int index, int version)
    {
        _owner = owner;
        _index = index;
        _version = version;
    }

    /// <summary>True for <c>default</c>, which stands for an optional tensor left out.</summary>
    public bool IsNone => _owner is null;

    internal ITensorOwner? Owner => _owner;

    internal int Index => _index;

    internal int Version => _version;

    internal nint Handle => _owner is null ? throw new InvalidOperationException("The tensor is none.") : _owner.Resolve(_index, _version);

    /// <summary>Copies values into a new CPU tensor of the current scope.</summary>
    public static Tensor From<T>(ReadOnlySpan<T> values, params ReadOnlySpan<long> sizes) where T : unmanaged => TensorScope.Track(Copy(values, sizes));

    /// <summary>Copies doubles into a float32 tensor of the current scope: tests and constants.</summary>
    public static Tensor Scalar(float value) => From([value], []);

    /// <summary>An uninitialised CPU tensor of the current scope.</summary>
    public static Tensor Empty(Dtype dtype, params ReadOnlySpan<long> sizes) => TensorScope.Track(Allocate(dtype, sizes));

    /// <summary>An uninitialised tensor of the current scope on a device.</summary>
    public static Tensor Empty(Dtype dtype, Device device, params ReadOnlySpan<long> sizes) => TensorScope.Track(Allocate(dtype, device, sizes));

    /// <summary>Element type.</summary>
    public Dtype Dtype => (Dtype)Info().Dtype;

    /// <summary>Where the elements are.</summary>
    public Device Device => Device.Of(Info());

    /// <summary>Number of dimensions.</summary>
    public int Rank => Info().Rank;

    /// <summary>Number of elements.</summary>
    public long Elements => Info().Elements;

    /// <summary>Whether operations on it are recorded for differentiation.</summary>
    public bool RequiresGrad => Info().RequiresGrad != 0;

    /// <summary>Size of one dimension; negative ones count from the end.</summary>
    public long Size(int dimension)
    {
        var info = Info();
        var index = dimension < 0 ? dimension + info.Rank : dimension;
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)info.Rank, nameof(dimension));
        return info.Sizes[index];
    }

    /// <summary>All sizes; allocates.</summary>
    public long[] Shape()
    {
        var info = Info();
        return new ReadOnlySpan<long>(info.Sizes, info.Rank).ToArray();
    }

    /// <summary>The value of a one-element tensor.</summary>
    public double Item()
    {
        Recording.RefuseHostAccess("Item()");
        return ReadScalar();
    }

    internal double ReadScalar()
    {
        double value;
        NativeMethods.Check(NativeMethods.ds_tensor_item(Handle, &value));
        GC.KeepAlive(_owner);
        return value;
    }

    /// <summary>All elements in row-major order; allocates. <typeparamref name="T"/> must be the element type.</summary>
    public T[] ToArray<T>() where T : unmanaged
    {
        var values = new T[Elements];
        Read<T>(values);
        return values;
    }

    /// <summary>Copies all elements in row-major order to a span of exactly that length.</summary>
    public void Read<T>(Span<T> destination) where T : unmanaged
    {
        Recording.RefuseHostAccess("Read()");
        RequireDtype<T>();
        fixed (T* pointer = destination)
        {
            NativeMethods.Check(NativeMethods.ds_tensor_read(Handle, pointer, (long)destination.Length * sizeof(T)));
        }
        GC.KeepAlive(_owner);
    }

    /// <summary>Overwrites all elements, past autograd, from a span of exactly that length.</summary>
    public void Write<T>(ReadOnlySpan<T> source) where T : unmanaged
    {
        Recording.RefuseHostAccess("Write()");
        RequireDtype<T>();
        fixed (T* pointer = source)
        {
            NativeMethods.Check(NativeMethods.ds_tensor_write(Handle, pointer, (long)source.Length * sizeof(T)));
        }
        GC.KeepAlive(_owner);
    }

    /// <summary>A handle that keeps this tensor beyond its scope; the caller disposes it.</summary>
    public TensorHandle Keep()
    {
        nint alias;
        NativeMethods.Check(NativeMethods.ds_tensor_alias(Handle, &alias));
        GC.KeepAlive(_owner);
        return new TensorHandle(alias);
    }

    /// <summary>Differentiates this one-element tensor by every leaf it depends on, adding to their gradients.</summary>
    public void Backward()
    {
        using var phase = Trace.IsRunning ? Trace.Enter(TraceEventKind.Phase, TraceTree.Backward) : default;
        NativeMethods.Check(NativeMethods.ds_autograd_backward(Handle, 0, 0));
        GC.KeepAlive(_owner);
    }

    /// <summary>The gradient of this leaf, or none.</summary>
    public Tensor Grad()
    {
        nint gradient;
        NativeMethods.Check(NativeMethods.ds_autograd_grad(Handle, &gradient));
        GC.KeepAlive(_owner);
        return gradient == 0 ? default : TensorScope.Track(gradient);
    }

    internal NativeTensorInfo Info()
    {
        NativeTensorInfo info;
        info.Size = (uint)sizeof(NativeTensorInfo);
        NativeMethods.Check(NativeMethods.ds_tensor_get_info(Handle, &info));
        GC.KeepAlive(_owner);
        return info;
    }

    internal static nint Copy<T>(ReadOnlySpan<T> values, ReadOnlySpan<long> sizes) where T : unmanaged
    {
        nint handle;
        fixed (T* data = values)
        fixed (long* dimensions = sizes)
        {
            NativeMethods.Check(NativeMethods.ds_tensor_from_blob(data, (long)values.Length * sizeof(T), dimensions, sizes.Length, (int)Dtypes.Of<T>(), &handle));
        }
        return handle;
    }

    internal static nint Allocate(Dtype dtype, ReadOnlySpan<long> sizes, int deviceType = 0) => Allocate(dtype, new Device((DeviceType)deviceType, -1), sizes);

    internal static nint Allocate(Dtype dtype, Device device, ReadOnlySpan<long> sizes)
    {
        nint handle;
        fixed (long* dimensions = sizes)
        {
            NativeMethods.Check(NativeMethods.ds_tensor_empty(dimensions, sizes.Length, (int)dtype, (int)device.Type, device.Index, &handle));
        }
        return handle;
    }

    private void RequireDtype<T>() where T : unmanaged
    {
        if (Unsafe.SizeOf<T>() != Dtype.Size())
        {
            throw new ArgumentException($"The tensor holds {Dtype}, not {typeof(T).Name}.");
        }
    }
}
