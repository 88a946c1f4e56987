using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Greatest element of each window of equal sides: [N, C, ..] → [N, C, ..'], over one to three dimensions.</summary>
public sealed class MaxPool(int kernel, int stride, int padding = 0) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.MaxPool(x, kernel, stride, padding);
}

/// <summary>Mean of each window of equal sides, padding included: [N, C, ..] → [N, C, ..'], over one to three dimensions.</summary>
public sealed class AvgPool(int kernel, int stride, int padding = 0) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.AvgPool(x, kernel, stride, padding);
}

/// <summary>Mean over each channel: [N, C, ..] → [N, C, 1, ..].</summary>
public sealed class GlobalAvgPool : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.AdaptiveAvgPool(x, 1); // [N, C, 1, ..]
}

/// <summary>How <see cref="Upsample"/> makes values between the given ones.</summary>
public enum Interpolation
{
    /// <summary>The nearest one.</summary>
    Nearest = 1,
    /// <summary>Linearly along each dimension.</summary>
    Linear = 2,
    /// <summary>Linearly, with the corners' centres left in place.</summary>
    LinearAligned = 3,
}

/// <summary>So many times the size along each of one to three dimensions: [N, C, ..] → [N, C, ..'].</summary>
public sealed class Upsample(int times, Interpolation interpolation = Interpolation.Nearest) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => interpolation == Interpolation.Nearest
        ? Functional.UpsampleNearest(x, times)
        : Functional.UpsampleLinear(x, times, interpolation == Interpolation.LinearAligned);
}
