using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>What comes before a norm in a residual net: dropout of a branch and its addition to the stream.</summary>
internal static class ResidualAdd
{
    /// <summary>Whether the steps must be taken one by one.</summary>
    internal static bool IsPlain(Module norm, Dropout? dropout, Tensor x, Tensor residual) =>
        norm.IsObserved || norm.Recomputes || dropout is { IsObserved: true } or { Recomputes: true } || !FusedNorm.Suits(x, residual);

    /// <summary>residual + dropout(x + bias).</summary>
    internal static Tensor Of(Tensor x, Tensor residual, Tensor bias, Dropout? dropout)
    {
        using var scope = TensorScope.Open();
        x = bias.IsNone ? x : x + bias;
        return scope.Return(residual + (dropout is null ? x : dropout.Forward(x)));
    }
}
