using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class FusedBatchNormTests
{
    private const double Momentum = 0.3;

    // Channels below, at and beside the vectors' widths; rows below and beyond one share and one chunk of the sums.
    public static TheoryData<int, int, int, int> Shapes => new()
    {
        { 2, 2, 1, 2 }, { 2, 3, 3, 5 }, { 3, 8, 4, 4 }, { 2, 19, 5, 3 }, { 5, 16, 1, 2 }, { 4, 33, 16, 17 }, { 1, 130, 3, 3 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Forward_OnEachInstructionSet_EqualsFloat64(int batch, int channels, int height, int width)
    {
        foreach (var dtype in new[] { Dtype.Float32, Dtype.BFloat16, Dtype.Float16 })
        {
            foreach (var options in Enumerable.Range(0, 8))
            {
                var (added, relu, training) = ((options & 1) != 0, (options & 2) != 0, (options & 4) != 0);
                KernelData.OnEachInstructionSet(set => CheckForward(Device.Cpu, [batch, channels, height, width], dtype, added, relu, training, $"{set} {dtype} residual {added} relu {relu} training {training} "));
            }
        }
    }

    [Theory]
    [InlineData(false, true, true)]
    [InlineData(true, true, true)]
    [InlineData(true, false, true)]
    [InlineData(false, false, true)]
    [InlineData(true, true, false)]
    [InlineData(false, true, false)]
    public void Backward_OnEachInstructionSet_EqualsCentralDifferences(bool added, bool relu, bool training)
    {
        const int batch = 3, channels = 11, height = 2, width = 3, count = batch * channels * height * width;
        var data = new Data(Device.Cpu, [batch, channels, height, width], Dtype.Float32);
        var (first, second) = (KernelData.Normal(9, count), KernelData.Normal(10, count));
        double[][] inputs = [Widen(data.X), Widen(data.Residual), Widen(data.Weight), Widen(data.Bias)];
        double Loss() => new BatchNormReference(batch, channels, height * width, inputs[0], added ? inputs[1] : null, inputs[2], inputs[3], training ? null : Widen(data.Mean), Widen(data.Variance), relu)
            .Y.Select((y, i) => y * (first[i] + (double)second[i])).Sum();
        KernelData.OnEachInstructionSet(set =>
        {
            using var scope = TensorScope.Open();
            var gradients = data.Gradients(added, relu, training, first, second);
            var leaf = 0;
            foreach (var input in added ? new[] { 0, 1, 2, 3 } : [0, 2, 3])
            {
                // The differences are exact to 1e-8 where no value is that near to ReLU's corner; the kernels work in float32.
                KernelData.Near(KernelData.Differences(inputs[input], Loss), gradients[leaf++], 3e-5, 1e-5, $"{set} gradient {input} ");
            }
        });
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Training_WithChannelsApart_HasTheBitsOfTheSeparateOperators(bool matrix)
    {
        using var scope = TensorScope.Open();
        long[] sizes = matrix ? [12, 6] : [3, 6, 4, 5];
        var count = sizes.Aggregate(1L, (a, b) => a * b);
        var (x, residual) = (Tensor.From<float>(KernelData.Normal(1, count), sizes), Tensor.From<float>(KernelData.Normal(2, count), sizes));
        var (weight, bias) = (Tensor.From<float>(KernelData.Normal(3, 6), 6), Tensor.From<float>(KernelData.Normal(4, 6), 6));
        var expected = (OperatorCall.To(Operators.BatchNorm).Add(x).Add(weight).Add(bias).None().None().Add(true).Add(Momentum).Add(BatchNormReference.Epsilon).Add(false).One() + residual).Relu();

        var y = Functional.BatchNorm(x, weight, bias, default, default, true, Momentum, BatchNormReference.Epsilon, residual, relu: true);

        Assert.Equal(expected.ToArray<float>(), y.ToArray<float>());
    }

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Training_OnADevice_EqualsFloat64(string name)
    {
        var device = Device.Parse(name);
        foreach (var (sizes, dtype) in new[] { (new long[] { 8, 64, 14, 14 }, Dtype.BFloat16), ([3, 24, 5, 7], Dtype.Float16), ([2, 2056, 3, 2], Dtype.Float32), ([4, 30, 6, 6], Dtype.Float32) })
        {
            foreach (var options in Enumerable.Range(0, 8))
            {
                CheckForward(device, sizes, dtype, (options & 1) != 0, (options & 2) != 0, (options & 4) != 0, $"{name} {dtype} {string.Join('x', sizes)} {options} ");
            }
        }
        using var scope = TensorScope.Open();
        long[] shape = [3, 24, 5, 7];
        var count = 3 * 24 * 5 * 7;
        var expected = new Data(Device.Cpu, shape, Dtype.Float32).Gradients(true, true, true, KernelData.Normal(9, count), KernelData.Normal(10, count));
        var gradients = new Data(device, shape, Dtype.Float32).Gradients(true, true, true, KernelData.Normal(9, count), KernelData.Normal(10, count));
        for (var leaf = 0; leaf < expected.Length; leaf++)
        {
            KernelData.Near(expected[leaf], gradients[leaf], 2e-5, 1e-5, $"{name} gradient {leaf} ");
        }
    }

    [Theory]
    [InlineData(1, 1, "more than one value per channel")]
    [InlineData(0, 4, "more than one value per channel")]
    public void Training_OnTooFewValues_SaysSo(int batch, int side, string message)
    {
        using var scope = TensorScope.Open();
        using var norm = new BatchNorm(4);
        using var x = TensorHandle.Filled(1, batch, 4, side, side);

        var fault = Assert.ThrowsAny<Exception>(() => { using var inner = TensorScope.Open(); norm.Forward(x.Tensor.ChannelsLast()); });
        Assert.Contains(message, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Forward_WithAResidualOfAnotherShape_SaysSo()
    {
        using var scope = TensorScope.Open();
        using var norm = new BatchNorm(4);
        using var x = TensorHandle.Filled(1, 2, 4, 3, 3);
        using var residual = TensorHandle.Filled(1, 2, 4, 3, 1);

        var fault = Assert.ThrowsAny<Exception>(() => { using var inner = TensorScope.Open(); norm.Forward(x.Tensor, residual.Tensor, relu: true); });
        Assert.Contains("residual has shape", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sequential_WithAHookOnTheNorm_ShowsWhatPassesBeforeReLU()
    {
        using var scope = TensorScope.Open();
        using var norm = new BatchNorm(4);
        using var net = new Sequential(norm, new Activation(ActivationKind.Relu));
        var x = Tensor.From<float>(KernelData.Normal(1, 2 * 4 * 9), 2, 4, 3, 3).ChannelsLast();
        var fused = net.Forward(x).Reshape(-1).ToArray<float>();
        var least = 0.0;
        using var hook = norm.OnPass(HookPlace.Output, (_, y) => { least = KernelData.Doubles(y).Min(); return default; });

        var apart = net.Forward(x).Reshape(-1).ToArray<float>();

        Assert.True(least < 0);
        Assert.True(fused.Min() >= 0);
        Assert.Equal(fused, apart);
    }

    private static void CheckForward(Device device, long[] sizes, Dtype dtype, bool added, bool relu, bool training, string what)
    {
        using var scope = TensorScope.Open();
        var data = new Data(device, sizes, dtype);
        using var mean = TensorHandle.From<float>(data.Mean, data.Mean.Length);
        using var variance = TensorHandle.From<float>(data.Variance, data.Variance.Length);
        mean.MoveTo(device);
        variance.MoveTo(device);
        var y = Functional.BatchNorm(data.Make(data.X), data.Vector(data.Weight), data.Vector(data.Bias), mean.Tensor, variance.Tensor, training, Momentum, BatchNormReference.Epsilon, added ? data.Make(data.Residual) : default, relu);
        var (batch, channels, inner) = ((int)sizes[0], (int)sizes[1], (int)(sizes[2] * sizes[3]));
        var expected = new BatchNormReference(batch, channels, inner, KernelData.Rounded(data.X, dtype), added ? KernelData.Rounded(data.Residual, dtype) : null, Widen(data.Weight), Widen(data.Bias),
            training ? null : Widen(data.Mean), Widen(data.Variance), relu);
        // One rounding to the stored type; the plain operators, which take channels that fit no vector, round once more in between.
        KernelData.Near(expected.Y, KernelData.Doubles(y.To(Device.Cpu)), 4e-6, 2 * Unit(dtype), what);
        Assert.Equal(dtype, y.Dtype);
        Assert.Equal(sizes, y.Shape());
        var count = (double)batch * inner;
        KernelData.Near([.. expected.Mean.Select((m, c) => training ? ((1 - Momentum) * data.Mean[c]) + (Momentum * m) : data.Mean[c])], KernelData.Doubles(mean.Tensor.To(Device.Cpu)), 1e-6, 1e-6, what + "running mean");
        KernelData.Near([.. expected.Variance.Select((v, c) => training ? ((1 - Momentum) * data.Variance[c]) + (Momentum * v * count / (count - 1)) : data.Variance[c])], KernelData.Doubles(variance.Tensor.To(Device.Cpu)), 1e-6, 1e-6, what + "running variance");
    }

    private static double Unit(Dtype dtype) => dtype switch { Dtype.BFloat16 => 1.0 / 256, Dtype.Float16 => 1.0 / 2048, _ => 1e-6 };

    private static double[] Widen(float[] values) => Array.ConvertAll(values, v => (double)v);

    /// <summary>Repeatable inputs in channels-last layout.</summary>
    private sealed class Data(Device device, long[] sizes, Dtype dtype)
    {
        internal float[] X { get; } = KernelData.Normal(1, sizes.Aggregate(1L, (a, b) => a * b));

        internal float[] Residual { get; } = KernelData.Normal(2, sizes.Aggregate(1L, (a, b) => a * b));

        internal float[] Weight { get; } = KernelData.Normal(3, sizes[1]);

        internal float[] Bias { get; } = KernelData.Normal(4, sizes[1]);

        internal float[] Mean { get; } = KernelData.Normal(5, sizes[1]);

        internal float[] Variance { get; } = Array.ConvertAll(KernelData.Normal(6, sizes[1]), v => 0.5f + (v * v));

        internal Tensor Make(float[] values) => Tensor.From<float>(values, sizes).To(device).To(dtype).ChannelsLast();

        internal Tensor Vector(float[] values) => Tensor.From<float>(values, values.Length).To(device);

        /// <summary>Gradients of Σ y·first + Σ y·second, y read as the operator's two results: of x, the residual if any, weight and bias.</summary>
        internal double[][] Gradients(bool added, bool relu, bool training, float[] first, float[] second)
        {
            using var x = Make(X).Keep().WithGrad();
            using var residual = Make(Residual).Keep().WithGrad();
            using var weight = Vector(Weight).Keep().WithGrad();
            using var bias = Vector(Bias).Keep().WithGrad();
            var (y, twin) = FusedBatchNorm.Fork(x.Tensor, added ? residual.Tensor : default, weight.Tensor, bias.Tensor, Vector(Mean), Vector(Variance), training, Momentum, BatchNormReference.Epsilon, relu);
            ((y * Make(first)).Sum() + (twin * Make(second)).Sum()).Backward();
            TensorHandle[] leaves = added ? [x, residual, weight, bias] : [x, weight, bias];
            return [.. leaves.Select(l => KernelData.Doubles(l.Tensor.Grad().To(Device.Cpu)))];
        }
    }
}
