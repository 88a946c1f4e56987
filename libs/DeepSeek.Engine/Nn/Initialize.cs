using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Initial weights, drawn from the default generator.</summary>
public static class Initialize
{
    /// <summary>Even over ±1/√fanIn: He et al. (arXiv 1502.01852) with the leaky slope √5 that PyTorch's layers use.</summary>
    public static TensorHandle FanIn(long fanIn, params ReadOnlySpan<long> sizes)
    {
        var bound = 1 / Math.Sqrt(fanIn);
        return Uniform(bound, sizes);
    }

    /// <summary>Even over ±bound.</summary>
    public static TensorHandle Uniform(double bound, params ReadOnlySpan<long> sizes)
    {
        var tensor = TensorHandle.Empty(Dtype.Float32, sizes);
        Uniform(tensor, bound);
        return tensor;
    }

    /// <summary>Draws an existing weight anew: even over ±bound.</summary>
    public static void Uniform(TensorHandle tensor, double bound)
    {
        if (!MetaDevice.Entered)
        {
            using var unrecorded = NoGrad.Enter();
            tensor.Tensor.UniformInPlace(-bound, bound);
        }
    }

    /// <summary>Normal with mean 0.</summary>
    public static TensorHandle Normal(double deviation, params ReadOnlySpan<long> sizes)
    {
        var tensor = TensorHandle.Empty(Dtype.Float32, sizes);
        Normal(tensor, deviation);
        return tensor;
    }

    /// <summary>Draws an existing weight anew: normal with mean 0.</summary>
    public static void Normal(TensorHandle tensor, double deviation)
    {
        if (!MetaDevice.Entered)
        {
            using var unrecorded = NoGrad.Enter();
            tensor.Tensor.NormalInPlace(0, deviation);
        }
    }
}
