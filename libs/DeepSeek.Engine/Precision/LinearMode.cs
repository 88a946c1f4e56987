using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>Precision of a layer's matrix products, in rising order.</summary>
public enum LayerPrecision
{
    /// <summary>E4M3 forward, E5M2 for gradients.</summary>
    Float8 = 0,
    /// <summary>BFloat16 or Float16.</summary>
    Half = 1,
    /// <summary>Float32.</summary>
    Float32 = 2,
}

/// <summary>How this thread's linear layers multiply at the moment; null: as their tensors' types say.</summary>
internal abstract class LinearMode
{
    [ThreadStatic] private static LinearMode? t_current;

    internal static LinearMode? Current
    {
        get => t_current;
        set => t_current = value;
    }

    internal abstract Tensor Apply(Tensor x, Tensor weight, Tensor bias);
}

/// <summary>Inputs and weights rounded to half precision; the result has the input's type, or half precision as under autocast.</summary>
internal sealed class HalfMode(Dtype dtype, bool stays = false) : LinearMode
{
    internal override Tensor Apply(Tensor x, Tensor weight, Tensor bias) =>
        Functional.PlainLinear(x.To(dtype), weight.To(dtype), bias.IsNone ? bias : bias.To(dtype)).To(stays ? dtype : x.Dtype);
}

/// <summary>The products in float32, for weights in half precision or under autocast; the result has the input's type, or stays float32.</summary>
internal sealed class Float32Mode(bool stays = false) : LinearMode
{
    internal override Tensor Apply(Tensor x, Tensor weight, Tensor bias)
    {
        var modes = ThreadModes.Get();
        modes.WithoutAutocast().Set();
        try
        {
            return Functional.PlainLinear(x.To(Dtype.Float32), weight.To(Dtype.Float32), bias.IsNone ? bias : bias.To(Dtype.Float32)).To(stays ? Dtype.Float32 : x.Dtype);
        }
        finally
        {
            modes.Set();
        }
    }
}

/// <summary>Everything in FP8; the result has a type of its own or the input's.</summary>
internal sealed class Float8Mode(Fp8Linear function, Dtype? type = null) : LinearMode
{
    internal Fp8Linear Function => function;

    internal Dtype? Type => type;

    internal override Tensor Apply(Tensor x, Tensor weight, Tensor bias) => function.Apply(x, weight, bias, type);
}
