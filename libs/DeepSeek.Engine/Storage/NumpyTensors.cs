using System.Runtime.InteropServices;
using DeepSeek.Data;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Storage;

/// <summary>Tensors to and from NumPy's arrays (<see cref="NpyArray"/>, <see cref="NpzArchive"/>).</summary>
public static class NumpyTensors
{
    /// <summary>A copy of the tensor's elements. NumPy has no bfloat16, which goes as float32.</summary>
    public static NpyArray ToNumpy(this Tensor tensor)
    {
        using var scope = TensorScope.Open();
        var host = tensor.Dtype == Dtype.BFloat16 ? tensor.To(Dtype.Float32) : tensor;
        int[] shape = [.. host.Shape().Select(d => checked((int)d))];
        return host.Dtype switch
        {
            Dtype.Float32 => NpyArray.Of<float>(host.ToArray<float>(), shape),
            Dtype.Float64 => NpyArray.Of<double>(host.ToArray<double>(), shape),
            Dtype.Float16 => NpyArray.Of<Half>(host.ToArray<Half>(), shape),
            Dtype.Int64 => NpyArray.Of<long>(host.ToArray<long>(), shape),
            Dtype.Int32 => NpyArray.Of<int>(host.ToArray<int>(), shape),
            Dtype.Int16 => NpyArray.Of<short>(host.ToArray<short>(), shape),
            Dtype.Int8 => NpyArray.Of<sbyte>(host.ToArray<sbyte>(), shape),
            Dtype.UInt8 => NpyArray.Of<byte>(host.ToArray<byte>(), shape),
            Dtype.Bool => NpyArray.Of<bool>(host.ToArray<bool>(), shape),
            var other => throw new NotSupportedException($"NumPy has no {other}."),
        };
    }

    /// <summary>A CPU tensor of the current scope with a copy of the array's elements.</summary>
    public static Tensor ToTensor(this NpyArray array)
    {
        long[] sizes = [.. array.Shape.Select(d => (long)d)];
        return array.Descriptor switch
        {
            "<f4" => Tensor.From(array.As<float>(), sizes),
            "<f8" => Tensor.From(array.As<double>(), sizes),
            "<f2" => Tensor.From(array.As<Half>(), sizes),
            "<i8" => Tensor.From(array.As<long>(), sizes),
            "<i4" => Tensor.From(array.As<int>(), sizes),
            "<i2" => Tensor.From(array.As<short>(), sizes),
            "|i1" => Tensor.From(array.As<sbyte>(), sizes),
            "|u1" => Tensor.From(array.As<byte>(), sizes),
            "|b1" => Tensor.From(MemoryMarshal.Cast<byte, bool>(array.Data), sizes),
            var other => throw new NotSupportedException($"Tensors hold no '{other}'."),
        };
    }
}
