using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Initial weights, drawn from the default generator.</summary>
internal static class Initialize
{
    /// <summary>Even over ±1/√fanIn: He et al. (arXiv 1502.01852) with the leaky slope √5 that PyTorch's layers use.</summary>
    internal static TensorHandle FanIn(long fanIn, params ReadOnlySpan<long> sizes)
    {
        var tensor = TensorHandle.Empty(Dtype.Float32, sizes);
        var bound = 1 / Math.Sqrt(fanIn);
        tensor.Tensor.UniformInPlace(-bound, bound);
        return tensor;
    }

    /// <summary>Standard normal.</summary>
    internal static TensorHandle Normal(params ReadOnlySpan<long> sizes)
    {
        var tensor = TensorHandle.Empty(Dtype.Float32, sizes);
        tensor.Tensor.NormalInPlace(0, 1);
        return tensor;
    }
}
