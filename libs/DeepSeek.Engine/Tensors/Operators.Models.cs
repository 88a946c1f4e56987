namespace DeepSeek.Engine.Tensors;

internal static partial class Operators
{
    internal static readonly Operator[] AdaptiveAvgPools = [new("adaptive_avg_pool1d"), new("adaptive_avg_pool2d"), new("adaptive_avg_pool3d")];
    internal static readonly Operator AddMm = new("addmm");
    internal static readonly Operator Attention = new("scaled_dot_product_attention");
    internal static readonly Operator[] AvgPools = [new("avg_pool1d"), new("avg_pool2d"), new("avg_pool3d")];
    internal static readonly Operator Bernoulli = new("bernoulli_", "float");
    internal static readonly Operator[] Convolutions = [new("conv1d"), new("conv2d"), new("conv3d")];
    internal static readonly Operator ConvolutionStride2 = new("deepseek::convolution_stride2");
    internal static readonly Operator[] ConvolutionsTransposed = [new("conv_transpose1d"), new("conv_transpose2d", "input"), new("conv_transpose3d", "input")];
    internal static readonly Operator Cos = new("cos");
    internal static readonly Operator Expand = new("expand");
    internal static readonly Operator FusedMaxPool = new("deepseek::max_pool2d");
    internal static readonly Operator GroupNorm = new("group_norm");
    internal static readonly Operator KlDivergence = new("kl_div");
    internal static readonly Operator L1 = new("l1_loss");
    internal static readonly Operator LogSigmoid = new("log_sigmoid");
    internal static readonly Operator JoinLstm = new("_cudnn_rnn_flatten_weight");
    internal static readonly Operator Lstm = new("lstm", "input");
    internal static readonly Operator[] MaxPools = [new("max_pool1d"), new("max_pool2d"), new("max_pool3d")];
    internal static readonly Operator MeanDim = new("mean", "dim");
    internal static readonly Operator Neg = new("neg");
    internal static readonly Operator NegativeLogLikelihood = new("nll_loss_nd");
    internal static readonly Operator NewFull = new("new_full");
    internal static readonly Operator Permute = new("permute");
    internal static readonly Operator RmsNorm = new("rms_norm");
    internal static readonly Operator Rsqrt = new("rsqrt");
    internal static readonly Operator Sin = new("sin");
    internal static readonly Operator SmoothL1 = new("smooth_l1_loss");
    internal static readonly Operator SplitWithSizes = new("split_with_sizes");
    internal static readonly Operator Squeeze = new("squeeze", "dim");
    internal static readonly Operator Triu = new("triu");
    internal static readonly Operator Unsqueeze = new("unsqueeze");
    internal static readonly Operator[] UpsampleLinear = [new("upsample_linear1d", "vec"), new("upsample_bilinear2d", "vec"), new("upsample_trilinear3d", "vec")];
    internal static readonly Operator[] UpsampleNearest = [new("upsample_nearest1d", "vec"), new("upsample_nearest2d", "vec"), new("upsample_nearest3d", "vec")];
}
