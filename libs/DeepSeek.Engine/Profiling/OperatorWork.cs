namespace DeepSeek.Engine.Profiling;

/// <summary>What a call has to compute and to move at least; null where no formula is known.</summary>
/// <param name="Flops">Floating-point operations: two for each multiply-add of a product. Bias, scale and softmax beside products are not counted.</param>
/// <param name="Bytes">Every operand once and every result once.</param>
public readonly record struct Work(double? Flops, double? Bytes);

/// <summary>
/// Operations and bytes of operators by formula. Attention counts the visible pairs of queries and keys alone, and its backward pass
/// five products for the forward pass's two, the recomputed scores included (Dao et al., "FlashAttention", arXiv 2205.14135, appendix B).
/// </summary>
public static class OperatorWork
{
    // A call that only makes another view of the same elements, or room for some.
    private static readonly HashSet<string> s_free =
    [
        .. ((string[])["view", "reshape", "_reshape_alias", "_unsafe_view", "view_as", "flatten", "t", "transpose", "permute", "numpy_T", "expand", "expand_as", "slice", "narrow", "select",
            "unsqueeze", "squeeze", "as_strided", "detach", "detach_", "alias", "split", "split_with_sizes", "chunk", "unbind", "unfold", "diagonal", "movedim", "swapaxes", "empty", "empty_like",
            "empty_strided", "new_empty", "new_empty_strided", "resize_", "set_", "result_type", "lift_fresh", "unflatten", "t_", "transpose_", "squeeze_", "unsqueeze_", "is_same_size", "size", "stride"]).Select(n => $"aten::{n}"),
    ];

    // Their first argument is written, not read.
    private static readonly HashSet<string> s_onlyWritten = ["aten::copy_", "aten::fill_", "aten::zero_", "aten::uniform_", "aten::normal_", "aten::bernoulli_"];

    /// <summary>The work of one call. <paramref name="listed"/> is <see cref="TraceEvent.Listed"/>.</summary>
    public static Work Of(OperatorSignature call, long listed = -1)
    {
        if (s_free.Contains(call.Name))
        {
            return new Work(0, 0);
        }
        return new Work(Flops(call, listed), Bytes(call));
    }

    private static double? Flops(OperatorSignature call, long listed) => call.Name switch
    {
        "aten::mm" or "aten::bmm" or "aten::matmul" or "aten::mv" or "aten::dot" or "aten::vdot" or "aten::linear" or "aten::mkldnn_linear" or "aten::_scaled_mm" => Product(call, call.Tensor(0)),
        "aten::addmm" or "aten::addmm_" or "aten::baddbmm" or "aten::baddbmm_" or "aten::addmv" or "aten::addmv_" or "aten::_addmm_activation" => Product(call, call.Tensor(1)),
        // Its first tensor is the result.
        "deepseek::product" => call.Tensor(0) is { } made && call.Tensor(1) is { Sizes: [_, var inner] } ? 2.0 * made.Elements * inner : null,
        "aten::conv1d" or "aten::conv2d" or "aten::conv3d" or "aten::mkldnn_convolution" or "aten::cudnn_convolution" or "aten::cudnn_convolution_relu" or "aten::cudnn_convolution_add_relu"
            or "aten::_slow_conv2d_forward" or "aten::thnn_conv2d" or "aten::_conv_depthwise2d" or "aten::conv_depthwise3d" or "aten::slow_conv3d" or "aten::slow_conv3d_forward"
            or "aten::slow_conv_dilated2d" or "aten::slow_conv_dilated3d" => Convolution(Output(call), call.Tensor(1)),
        "aten::conv_transpose1d" or "aten::conv_transpose2d" or "aten::conv_transpose3d" or "aten::cudnn_convolution_transpose" or "aten::slow_conv_transpose2d" or "aten::slow_conv_transpose3d" =>
            Convolution(call.Tensor(0), call.Tensor(1)),
        "aten::convolution" or "aten::_convolution" or "aten::convolution_overrideable" => Convolution(call.Flag(6) ? call.Tensor(0) : Output(call), call.Tensor(1)),
        "aten::convolution_backward" => ConvolutionBackward(call, 7, 10),
        "aten::convolution_backward_overrideable" => ConvolutionBackward(call, 6, 9),
        "deepseek::block_sparse_attention" => Blocks(call, 0, 5, listed, products: 2),
        "deepseek::block_sparse_attention_backward" => Blocks(call, 1, 8, listed, products: 5),
        // All heads of a query share its list.
        "deepseek::gather_attention" => listed >= 0 && call.Tensor(0) is { Sizes: [_, var heads, _, var width] } ? 4.0 * listed * heads * width : null,
        "deepseek::indexer_logits" => Indexer(call, 3, 6),
        "deepseek::indexer_select" => Indexer(call, 4, 7),
        "deepseek::block_scores" => BlockScores(call),
        "deepseek::norm" => Norm(call, 0, call.Flag(4), 0),
        "deepseek::dropout_add_norm" => Norm(call, 0, call.Flag(6), (call.Tensor(1) is null ? 0 : 1) + (call.Arguments.Count > 4 && call.Arguments[4] is > 0.0 ? 1 : 0)),
        "deepseek::bias_gelu" => (5 + (call.Tensor(1) is null ? 0 : 1)) * Elements(call, 0), // multiply, erf (or tanh), add, two multiplies
        "deepseek::swiglu" => 4 * Elements(call, 0), // exp, add, divide, multiply
        "deepseek::rotary" => 3 * Elements(call, 0), // two multiplies and an add
        "deepseek::topk" or "deepseek::select_blocks" => 0, // comparisons
        "deepseek::adamw" => 14 * Elements(call, 0), // two moments 7, their ratio 4, decay and step 3
        "deepseek::sgd" => 6 * Elements(call, 0), // decay 2, momentum 2, step 2
        _ => Attention(call),
    };

    private static double? Product(OperatorSignature call, TensorShape? left) =>
        left is { Sizes: [.., var depth] } && Output(call) is { } result ? 2.0 * result.Elements * depth : null;

    // Each element of one side meets every weight of one channel of the other.
    private static double? Convolution(TensorShape? side, TensorShape? weight) =>
        side is not null && weight is { Sizes: [> 0, ..] } ? 2.0 * side.Elements * (weight.Elements / weight.Sizes[0]) : null;

    private static double? ConvolutionBackward(OperatorSignature call, int transposed, int mask)
    {
        if (mask >= call.Arguments.Count || call.Arguments[mask] is not long[] wanted)
        {
            return null;
        }
        return Convolution(call.Flag(transposed) ? call.Tensor(1) : call.Tensor(0), call.Tensor(2)) * (wanted[0] + wanted[1]);
    }

    private static double? Attention(OperatorSignature call)
    {
        var (backward, causal) = call.Name switch
        {
            "aten::scaled_dot_product_attention" => (false, 5),
            "aten::_scaled_dot_product_attention" => (false, 6),
            "aten::_scaled_dot_product_flash_attention" or "aten::_scaled_dot_product_flash_attention_for_cpu" => (false, 4),
            "aten::_scaled_dot_product_efficient_attention" or "aten::_scaled_dot_product_cudnn_attention" => (false, 6),
            "aten::_scaled_dot_product_flash_attention_backward" or "aten::_scaled_dot_product_efficient_attention_backward" => (true, 11),
            "aten::_scaled_dot_product_flash_attention_for_cpu_backward" => (true, 7),
            "aten::_scaled_dot_product_cudnn_attention_backward" => (true, 14),
            _ => (false, -1),
        };
        var first = backward ? 1 : 0;
        if (causal < 0 || call.Tensor(first) is not { Sizes: [.., var queries, var width] } q || call.Tensor(first + 1) is not { Sizes: [.., var keys, _] }
            || call.Tensor(first + 2) is not { Sizes: [.., var wide] })
        {
            return null;
        }
        var heads = q.Elements / Math.Max(1, queries * width);
        // Query i sees keys 0 to i.
        var visible = Math.Min(queries, keys);
        var pairs = call.Flag(causal) ? (visible * (visible + 1.0) / 2) + ((queries - visible) * (double)keys) : (double)queries * keys;
        return backward ? 2 * heads * pairs * ((3 * width) + (2 * wide)) : 2 * heads * pairs * (width + wide);
    }

    // The lists' blocks count in full: the kernels compute them whole.
    private static double? Blocks(OperatorSignature call, int first, int sizes, long listed, int products)
    {
        if (listed < 0 || call.Tensor(first) is not { Sizes: [_, var heads, _, var width] } || call.Tensor(first + 3 + (products == 2 ? 0 : 2)) is not { Sizes: [_, var lists, ..] } || lists == 0)
        {
            return null;
        }
        return 2.0 * products * listed * (heads / lists) * call.Integer(sizes) * call.Integer(sizes + 1) * width;
    }

    // Groups of `stride` rows of both sides meet; of two groups one antidiagonal of `stride` pairs is computed.
    private static double? BlockScores(OperatorSignature call)
    {
        if (call.Tensor(0) is not { Sizes: [var batch, var heads, var queries, var width] } || call.Tensor(1) is not { Sizes: [_, _, var keys, _] })
        {
            return null;
        }
        var stride = call.Integer(6, 16);
        var (rows, columns) = (queries / stride, keys / stride);
        double? pairs = !call.Flag(4) ? (double)rows * columns : queries == keys ? rows * (rows + 1.0) / 2 : null;
        return call.Flag(7) ? null : 2.0 * batch * heads * pairs * stride * width;
    }

    // A product of width D, a weight and a sum for each head and pair; query t sees the first t + 1 + keys - queries keys when causal.
    private static double? Indexer(OperatorSignature call, int causal, int lengths)
    {
        if (call.Tensor(0) is not { Sizes: [var batch, var queries, var heads, var width] } || call.Tensor(1) is not { Sizes: [_, var keys, _] } || call.Tensor(lengths) is not null)
        {
            return null;
        }
        var pairs = 0.0;
        for (var t = 0L; t < queries; t++)
        {
            pairs += call.Flag(causal) ? Math.Clamp(t + 1 + keys - queries, 0, keys) : keys;
        }
        return batch * pairs * heads * ((2 * width) + 2);
    }

    // Layer norm: mean 1, variance 3, normalising 2; RMS norm: squares 2, normalising 1; weight and bias one each.
    private static double? Norm(OperatorSignature call, int x, bool rms, int before)
    {
        var affine = call.Name == "deepseek::norm" ? 1 : 2;
        return Elements(call, x) * ((rms ? 3 : 6) + before + (call.Tensor(affine) is null ? 0 : 1) + (call.Tensor(affine + 1) is null ? 0 : 1));
    }

    private static double? Elements(OperatorSignature call, int argument) => call.Tensor(argument)?.Elements;

    private static TensorShape? Output(OperatorSignature call) => call.Outputs.FirstOrDefault();

    private static double? Bytes(OperatorSignature call)
    {
        switch (call.Name)
        {
            case "aten::convolution_backward" when call.Arguments is [_, _, _, _, _, _, _, _, _, _, long[] wanted, ..]:
                return (call.Tensor(0)?.Bytes + (wanted[1] != 0 ? call.Tensor(1)?.Bytes : 0) + (wanted[0] != 0 ? call.Tensor(2)?.Bytes : 0)) + call.Outputs.Sum(t => t.Bytes);
            case "deepseek::product":
                return call.Inputs.Sum(t => t.Bytes);
            case "deepseek::adamw": // parameter and two moments read and written, gradient read
                return call.Tensor(0)?.Elements * 28; // the same for a half-precision parameter with its float32 master: 2 + 2 + 8 + 16
            case "deepseek::sgd": // parameter and momentum read and written, gradient read
                return call.Tensor(0)?.Elements * 20;
            default:
                var results = call.Outputs.ToList();
                // Without results a call's traffic is not known: a node of the backward pass, or a range.
                return results.Count == 0 ? null : call.Inputs.Skip(s_onlyWritten.Contains(call.Name) ? 1 : 0).Sum(t => t.Bytes) + results.Sum(t => t.Bytes);
        }
    }
}
