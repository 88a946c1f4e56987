namespace DeepSeek.Engine.Tensors;

internal static partial class Operators
{
    internal static readonly Operator AddMm = new("addmm");
    internal static readonly Operator Attention = new("scaled_dot_product_attention");
    internal static readonly Operator[] Convolutions = [new("conv1d"), new("conv2d"), new("conv3d")];
    internal static readonly Operator[] ConvolutionsTransposed = [new("conv_transpose1d"), new("conv_transpose2d", "input"), new("conv_transpose3d", "input")];
    internal static readonly Operator Expand = new("expand");
    internal static readonly Operator NewFull = new("new_full");
    internal static readonly Operator Permute = new("permute");
    internal static readonly Operator SplitWithSizes = new("split_with_sizes");
    internal static readonly Operator Squeeze = new("squeeze", "dim");
    internal static readonly Operator Triu = new("triu");
    internal static readonly Operator Unsqueeze = new("unsqueeze");
}
