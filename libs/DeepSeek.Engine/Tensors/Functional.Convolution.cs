using DeepSeek.Engine.Export;

namespace DeepSeek.Engine.Tensors;

public static partial class Functional
{
    private const int MaxSpatial = 3;

    /// <summary>
    /// Convolution over one to three dimensions: [N, C, ..] with [out, C/groups, kernel, ..] → [N, out, ..]; the same stride, padding
    /// and dilation in each.
    /// </summary>
    public static Tensor Convolution(Tensor x, Tensor weight, Tensor bias = default, long stride = 1, long padding = 0, long dilation = 1, long groups = 1)
    {
        var n = Spatial(weight);
        if (n == 2 && stride == 2 && dilation == 1 && groups == 1 && weight.Size(1) <= 4 && !OperatorTrace.Recording)
        {
            // Few channels: on a GPU and in half precision the operator folds squares of pixels into channels; elsewhere it is the same convolution.
            return OperatorCall.To(Operators.ConvolutionStride2).Add(x).Add(weight).Add(bias).Add(padding).One();
        }
        Span<long> lists = stackalloc long[3 * MaxSpatial];
        return OperatorCall.To(Operators.Convolutions[n - 1]).Add(x).Add(weight).Add(bias)
            .Add(Same(lists, 0, n, stride)).Add(Same(lists, 1, n, padding)).Add(Same(lists, 2, n, dilation)).Add(groups).One();
    }

    /// <summary>Transposed convolution: [N, C, ..] with [C, out, kernel, ..] → [N, out, ..], of size (size-1)·stride - 2·padding + kernel + outputPadding.</summary>
    public static Tensor ConvolutionTransposed(Tensor x, Tensor weight, Tensor bias = default, long stride = 1, long padding = 0, long outputPadding = 0)
    {
        Span<long> lists = stackalloc long[3 * MaxSpatial];
        var n = Spatial(weight);
        return OperatorCall.To(Operators.ConvolutionsTransposed[n - 1]).Add(x).Add(weight).Add(bias)
            .Add(Same(lists, 0, n, stride)).Add(Same(lists, 1, n, padding)).Add(Same(lists, 2, n, outputPadding)).One();
    }

    private static int Spatial(Tensor weight)
    {
        var dimensions = weight.Rank - 2;
        return dimensions is >= 1 and <= MaxSpatial ? dimensions : throw new ArgumentException($"A convolution's weight has three to five dimensions, not {weight.Rank}.", nameof(weight));
    }

    private static ReadOnlySpan<long> Same(Span<long> lists, int index, int count, long value)
    {
        var list = lists.Slice(index * MaxSpatial, count);
        list.Fill(value);
        return list;
    }
}
