using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Greatest element of each square window: [N, C, H, W] → [N, C, H', W'].</summary>
public sealed class MaxPool2d(int kernel, int stride, int padding = 0) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.MaxPool2d(x, kernel, stride, padding);

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => graph.Node("MaxPool", [input], Windows.Attributes(kernel, stride, padding));
}

/// <summary>Mean of each square window, padding included: [N, C, H, W] → [N, C, H', W'].</summary>
public sealed class AvgPool2d(int kernel, int stride, int padding = 0) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.AvgPool2d(x, kernel, stride, padding);

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) =>
        graph.Node("AveragePool", [input], [.. Windows.Attributes(kernel, stride, padding), OnnxAttribute.Of("count_include_pad", 1)]);
}

/// <summary>Mean over each channel: [N, C, H, W] → [N, C, 1, 1].</summary>
public sealed class GlobalAvgPool2d : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.AdaptiveAvgPool2d(x, 1, 1); // [N, C, 1, 1]

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => graph.Node("GlobalAveragePool", [input]);
}

internal static class Windows
{
    internal static global::Onnx.AttributeProto[] Attributes(int kernel, int stride, int padding) =>
    [
        OnnxAttribute.Of("kernel_shape", [(long)kernel, kernel]),
        OnnxAttribute.Of("strides", [(long)stride, stride]),
        OnnxAttribute.Of("pads", [(long)padding, padding, padding, padding]),
    ];
}
