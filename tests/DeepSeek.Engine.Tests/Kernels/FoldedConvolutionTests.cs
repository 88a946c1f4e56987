using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class FoldedConvolutionTests
{
    // Odd kernels whose first tap falls on a square's first or second pixel; sizes that the kernel folds and, odd ones, that it leaves.
    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Convolution_OfStrideTwoOverFewChannels_EqualsTheDefinition(string name)
    {
        var device = Device.Parse(name);
        foreach (var (kernel, channels, side) in new[] { (7, 3, 16), (5, 1, 12), (7, 1, 10), (5, 4, 14), (7, 3, 15) })
        {
            Check(device, device.IsCuda ? Dtype.BFloat16 : Dtype.Float32, channels, kernel, side);
        }
    }

    private static void Check(Device device, Dtype dtype, int channels, int kernel, int side)
    {
        const int batch = 2, outputs = 8;
        var (padding, size) = (kernel / 2, (side + 1) / 2);
        var (x, weight) = (KernelData.Normal(1, batch * channels * side * side), KernelData.Normal(2, outputs * channels * kernel * kernel));
        var (wideX, wideWeight, gradient) = (KernelData.Rounded(x, dtype), KernelData.Rounded(weight, dtype), KernelData.Rounded(KernelData.Normal(3, batch * outputs * size * size), dtype));
        var (expected, share) = (new double[gradient.Length], new double[weight.Length]);
        for (var i = 0; i < expected.Length; i++)
        {
            var (image, output, row, column) = (i / (outputs * size * size), i / (size * size) % outputs, i / size % size, i % size);
            for (var w = 0; w < channels * kernel * kernel; w++)
            {
                var (c, h, v) = (w / (kernel * kernel), (2 * row) + (w / kernel % kernel) - padding, (2 * column) + (w % kernel) - padding);
                if (h >= 0 && h < side && v >= 0 && v < side)
                {
                    var at = (((((image * channels) + c) * side) + h) * side) + v;
                    expected[i] += wideX[at] * wideWeight[(output * channels * kernel * kernel) + w];
                    share[(output * channels * kernel * kernel) + w] += wideX[at] * gradient[i];
                }
            }
        }
        using var scope = TensorScope.Open();
        using var kernels = Tensor.From<float>(weight, outputs, channels, kernel, kernel).To(device).To(dtype).ChannelsLast().Keep().WithGrad();

        var y = Functional.Convolution(Tensor.From<float>(x, batch, channels, side, side).To(device).To(dtype).ChannelsLast(), kernels.Tensor, stride: 2, padding: padding);
        (y * Tensor.From<float>(Array.ConvertAll(gradient, g => (float)g), batch, outputs, size, size).To(device).To(dtype)).Sum().Backward();

        // Sums of up to 147 terms in float32, rounded once to the element type.
        var unit = dtype == Dtype.BFloat16 ? 1.01 / 256 : 1e-5;
        KernelData.Near(expected, KernelData.Doubles(y.To(Device.Cpu)), 1e-4, unit, $"{device} {kernel} {channels} {side} ");
        KernelData.Near(share, KernelData.Doubles(kernels.Tensor.Grad().To(Device.Cpu)), 1e-4, unit, $"{device} {kernel} {channels} {side} gradient ");
    }
}
