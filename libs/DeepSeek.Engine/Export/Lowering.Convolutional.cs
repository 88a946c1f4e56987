using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Engine.Export;

internal sealed partial class Lowering
{
    private void AddConvolutional()
    {
        for (var n = 1; n <= 3; n++)
        {
            One($"conv{n}d", call => _graph.Node("Conv", Operands(call),
                [Kernel(call), .. Windows(Ints(call, 3), Ints(call, 4)), OnnxAttribute.Of("dilations", Ints(call, 5)), OnnxAttribute.Of("group", Int(call, 6))]));
            One(n == 1 ? "conv_transpose1d" : $"conv_transpose{n}d.input", call => _graph.Node("ConvTranspose", Operands(call),
                [Kernel(call), .. Windows(Ints(call, 3), Ints(call, 4)), OnnxAttribute.Of("output_padding", Ints(call, 5))]));
            One($"max_pool{n}d", call => _graph.Node("MaxPool", [In(call, 0)], [OnnxAttribute.Of("kernel_shape", Ints(call, 1)), .. Windows(Ints(call, 2), Ints(call, 3))]));
            One($"avg_pool{n}d", call => _graph.Node("AveragePool", [In(call, 0)],
                [OnnxAttribute.Of("kernel_shape", Ints(call, 1)), .. Windows(Ints(call, 2), Ints(call, 3)), OnnxAttribute.Of("count_include_pad", 1)]));
            One($"adaptive_avg_pool{n}d", call => Ints(call, 1).All(s => s == 1)
                ? _graph.Node("GlobalAveragePool", [In(call, 0)])
                : throw new NotSupportedException("Adaptive pooling to more than one place has no ONNX form."));
            One($"upsample_nearest{n}d.vec", call => Resize(call, "nearest", "asymmetric"));
        }
        One("upsample_linear1d.vec", Linearly);
        One("upsample_bilinear2d.vec", Linearly);
        One("upsample_trilinear3d.vec", Linearly);

        string Linearly(TracedCall call) => Resize(call, "linear", Flag(call, 2) ? "align_corners" : "half_pixel");
    }

    private string[] Operands(TracedCall call) => Has(call, 2) ? [In(call, 0), In(call, 1), In(call, 2)] : [In(call, 0), In(call, 1)];

    private static AttributeProto Kernel(TracedCall call) => OnnxAttribute.Of("kernel_shape", Value(call, 1).Sizes[2..]);

    private static AttributeProto[] Windows(long[] strides, long[] padding) => [OnnxAttribute.Of("strides", strides), OnnxAttribute.Of("pads", [.. padding, .. padding])];

    private string Resize(TracedCall call, string mode, string coordinates)
    {
        var x = Value(call, 0);
        float[] scales = [1, 1, .. x.Sizes[2..].Zip(Ints(call, 1), (from, to) => (float)to / from)];
        return _graph.Node("Resize", [In(call, 0), "", _graph.Initializer(OnnxTensors.Of("scales", scales, scales.Length))],
            OnnxAttribute.Of("mode", mode), OnnxAttribute.Of("coordinate_transformation_mode", coordinates), OnnxAttribute.Of("nearest_mode", "floor"));
    }
}
