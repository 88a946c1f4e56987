using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class MaxPoolTests
{
    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void MaxPool_WithChannelsBesideEachOther_EqualsTheDefinition(string name)
    {
        var device = Device.Parse(name);
        foreach (var (kernel, stride, padding) in new[] { (3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 0), (4, 2, 2) })
        {
            foreach (var channels in new[] { 8, 24, 5 })
            {
                Check(device, channels, kernel, stride, padding);
            }
        }
    }

    private static void Check(Device device, int channels, int kernel, int stride, int padding)
    {
        const int batch = 2, height = 9, width = 12;
        using var scope = TensorScope.Open();
        // Of equal elements the first is taken: whole numbers have many.
        var values = Array.ConvertAll(KernelData.Normal(kernel + channels, batch * channels * height * width), v => MathF.Round(2 * v));
        var (rows, columns) = (((height + (2 * padding) - kernel) / stride) + 1, ((width + (2 * padding) - kernel) / stride) + 1);
        var gradient = KernelData.Normal(3, batch * channels * rows * columns);
        var (expected, share) = (new float[gradient.Length], new double[values.Length]);
        for (var i = 0; i < expected.Length; i++)
        {
            var (plane, top, left) = (i / (rows * columns), (i / columns % rows * stride) - padding, (i % columns * stride) - padding);
            var best = -1;
            for (var place = 0; place < kernel * kernel; place++)
            {
                var (h, w) = (top + (place / kernel), left + (place % kernel));
                var at = (((plane * height) + h) * width) + w;
                if (h is >= 0 and < height && w is >= 0 and < width && (best < 0 || values[at] > values[best]))
                {
                    best = at;
                }
            }
            expected[i] = values[best];
            share[best] += gradient[i];
        }
        using var x = Tensor.From<float>(values, batch, channels, height, width).To(device).ChannelsLast().Keep().WithGrad();

        var y = Functional.MaxPool(x.Tensor, kernel, stride, padding);
        (y * Tensor.From<float>(gradient, batch, channels, rows, columns).To(device).ChannelsLast()).Sum().Backward();

        var what = $"{device} {channels} {kernel}/{stride}/{padding} ";
        Assert.Equal(expected, y.To(Device.Cpu).Reshape(-1).ToArray<float>());
        // Sums of at most a few terms in float32.
        KernelData.Near(share, KernelData.Doubles(x.Tensor.Grad().To(Device.Cpu)), 1e-6, 1e-6, what + "gradient");
    }
}
