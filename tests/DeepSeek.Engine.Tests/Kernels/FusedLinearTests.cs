using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>Linear layers as single operators against libtorch's operators in float64, values and gradients.</summary>
public sealed class FusedLinearTests
{
    private delegate Tensor Function(Tensor[] inputs);

    // Float32 sums of at most 48 terms of size one; bfloat16: a rounding of inputs' products and one of each stored result.
    [Theory]
    [InlineData("cpu", Dtype.Float32, 3, 5, 7, 2e-6)]
    [InlineData("cpu", Dtype.BFloat16, 3, 5, 7, 1e-2)]
    [InlineData("cuda:0", Dtype.Float32, 3, 5, 7, 2e-6)]
    [InlineData("cuda:0", Dtype.BFloat16, 3, 5, 7, 1e-2)]
    [InlineData("cuda:0", Dtype.BFloat16, 24, 40, 48, 1e-2)]
    [InlineData("cuda:0", Dtype.Float16, 24, 40, 48, 2e-3)]
    [InlineData("cuda:0", Dtype.BFloat16, 264, 64, 192, 1e-2)]
    public void Of_WithAndWithoutBias_IsLibtorchsLinearLayer(string place, Dtype dtype, int rows, int inputs, int outputs, double tolerance)
    {
        long[][] shapes = [[2, rows, inputs], [outputs, inputs], [outputs]];
        Compare(place, dtype, shapes, t => FusedLinear.Of(t[0], t[1], t[2]), t => t[0].MatMul(t[1].Transpose(0, 1)) + t[2], tolerance);
        Compare(place, dtype, shapes[..2], t => FusedLinear.Of(t[0], t[1]), t => t[0].MatMul(t[1].Transpose(0, 1)), tolerance);
        Compare(place, dtype, shapes, Twice, t => t[0].MatMul(t[1].Transpose(0, 1)) + t[2], tolerance);

        // The second time without the value, which a sum of two knows.
        static Tensor Twice(Tensor[] t)
        {
            Span<Tensor> made = [default, default];
            Checkpoint.Run(
                (x, y) => (y[0], y[1]) = Both(FusedLinear.Of(x[0], x[1], x[2])),
                (x, kept, addends) => addends[0] = Checkpoint.KnownSum(kept[0], FusedLinear.Of(x[0], x[1], x[2], value: false), kept[0]), t, made, results: 1, kept: 1);
            return made[0];
        }

        static (Tensor Value, Tensor Kept) Both(Tensor value) => (value, value.Detach());
    }

    [Theory]
    [InlineData("cpu", Dtype.Float32, 3, 5, 7, 2e-6)]
    [InlineData("cpu", Dtype.BFloat16, 3, 5, 7, 2e-2)]
    [InlineData("cuda:0", Dtype.Float32, 3, 5, 7, 2e-6)]
    [InlineData("cuda:0", Dtype.BFloat16, 3, 5, 7, 2e-2)]
    [InlineData("cuda:0", Dtype.BFloat16, 24, 40, 48, 2e-2)]
    [InlineData("cuda:0", Dtype.Float16, 24, 40, 48, 3e-3)]
    [InlineData("cuda:0", Dtype.BFloat16, 264, 64, 192, 2e-2)]
    public void GeluMlp_WithAndWithoutBiases_IsItsParts(string place, Dtype dtype, int rows, int inputs, int width, double tolerance)
    {
        long[][] shapes = [[2, rows, inputs], [width, inputs], [inputs, width], [width], [inputs]];
        Compare(place, dtype, shapes, t => FusedLinear.GeluMlp(t[0], t[1], t[3], t[2], t[4]), t => Gelu(t[0].MatMul(t[1].Transpose(0, 1)) + t[3]).MatMul(t[2].Transpose(0, 1)) + t[4], tolerance);
        Compare(place, dtype, shapes[..3], t => FusedLinear.GeluMlp(t[0], t[1], default, t[2], default), t => Gelu(t[0].MatMul(t[1].Transpose(0, 1))).MatMul(t[2].Transpose(0, 1)), tolerance);
        Compare(place, dtype, shapes, Twice, t => Gelu(t[0].MatMul(t[1].Transpose(0, 1)) + t[3]).MatMul(t[2].Transpose(0, 1)) + t[4], tolerance);

        // The second time without the value.
        static Tensor Twice(Tensor[] t)
        {
            Span<Tensor> made = [default];
            Checkpoint.Run(
                (x, y) => y[0] = FusedLinear.GeluMlp(x[0], x[1], x[3], x[2], x[4]),
                (x, _, addends) => addends[0] = FusedLinear.GeluMlp(x[0], x[1], x[3], x[2], x[4], value: false), t, made, results: 1, kept: 0);
            return made[0];
        }
    }

    [Fact]
    public void GeluMlp_Float64_HasTheGradientsOfCentralDifferences()
    {
        long[][] shapes = [[2, 3], [4, 3], [4], [2, 4], [2]];
        double[][] values = [.. shapes.Select((s, i) => Array.ConvertAll(KernelData.Normal(i + 3, s.Aggregate(1L, (a, b) => a * b)), v => (double)v))];
        static Tensor Mlp(Tensor[] t) => FusedLinear.GeluMlp(t[0], t[1], t[2], t[3], t[4]);
        var gradients = Run("cpu", values, shapes, Dtype.Float64, Mlp, false)[1..];
        for (var i = 0; i < values.Length; i++)
        {
            KernelData.Near(KernelData.Differences(values[i], Loss), gradients[i], 1e-7, 1e-7, $"input {i} ");
        }

        double Loss()
        {
            using var scope = TensorScope.Open();
            return Weighed(Mlp([.. values.Select((v, i) => Tensor.From<double>(v, shapes[i]))])).Item();
        }
    }

    [Fact]
    public void Of_FrozenWeights_GivesTheOtherGradients()
    {
        using var scope = TensorScope.Open();
        using var x = TensorHandle.From<float>([1, 2, 3], 1, 3).WithGrad();
        var weight = Tensor.From<float>([1, 0, -1, 2, 1, 0], 2, 3);
        FusedLinear.Of(x.Tensor, weight).Sum().Backward();
        Assert.Equal([3, 1, -1], x.Tensor.Grad().ToArray<float>());
        using var bias = TensorHandle.From<float>([0, 0], 2).WithGrad();
        FusedLinear.GeluMlp(x.Tensor.Detach(), weight, default, Tensor.From<float>([1, 2, 3, 4], 2, 2), bias.Tensor).Sum().Backward();
        Assert.Equal([1, 1], bias.Tensor.Grad().ToArray<float>());
    }

    [Fact]
    public void Of_TensorsThatDoNotFit_SaysWhich()
    {
        using var scope = TensorScope.Open();
        var (x, weight) = (Tensor.Empty(Dtype.Float32, 4, 3), Tensor.Empty(Dtype.Float32, 2, 3));
        Assert.Contains("is not [out, 3]", Assert.Throws<NativeException>(() => FusedLinear.Of(x, Tensor.Empty(Dtype.Float32, 3, 2)).IsNone).Message, StringComparison.Ordinal);
        Assert.Contains("is not [2]", Assert.Throws<NativeException>(() => FusedLinear.Of(x, weight, Tensor.Empty(Dtype.Float32, 3)).IsNone).Message, StringComparison.Ordinal);
        Assert.Contains("BFloat16", Assert.Throws<NativeException>(() => FusedLinear.Of(x, weight.To(Dtype.BFloat16)).IsNone).Message, StringComparison.Ordinal);
        Assert.Equal([0, 2], FusedLinear.Of(Tensor.Empty(Dtype.Float32, 0, 3), weight).Shape());
    }

    [Fact]
    public void TuneProducts_OnTheGpu_ChangesNoResultByMoreThanItsRounding()
    {
        Gpu.Require();
        var before = FusedLinear.TuneProducts();
        try
        {
            Of_WithAndWithoutBias_IsLibtorchsLinearLayer("cuda:0", Dtype.BFloat16, 136, 72, 256, 1e-2);
            GeluMlp_WithAndWithoutBiases_IsItsParts("cuda:0", Dtype.BFloat16, 136, 72, 256, 2e-2);
            Assert.True(FusedLinear.TuneProducts());
        }
        finally
        {
            FusedLinear.TuneProducts(before);
        }
    }

    private static Tensor Gelu(Tensor x) => x * (((x + x * x * x * 0.044715) * Math.Sqrt(2 / Math.PI)).Tanh() + 1) * 0.5;

    /// <summary>The relative distance of the value and each gradient, with inputs whole and with weights transposed in memory, as GPT-2 keeps them.</summary>
    private static void Compare(string place, Dtype dtype, long[][] shapes, Function ours, Function reference, double tolerance)
    {
        var inputs = shapes.Select((shape, i) => KernelData.Rounded([.. KernelData.Normal(i + 1, shape.Aggregate(1L, (a, b) => a * b)).Select(v => v / 2)], dtype)).ToArray();
        var expected = Run("cpu", inputs, shapes, Dtype.Float64, reference, false);
        foreach (var turned in new[] { false, true })
        {
            var actual = Run(place, inputs, shapes, dtype, ours, turned);
            for (var i = 0; i < expected.Length; i++)
            {
                var distance = Math.Sqrt(expected[i].Zip(actual[i], (a, b) => (a - b) * (a - b)).Sum() / expected[i].Sum(a => a * a));
                Assert.True(distance <= tolerance, $"{dtype} turned {turned}, result {i}: {distance:g3}");
            }
        }
    }

    private static double[][] Run(string place, double[][] inputs, long[][] shapes, Dtype dtype, Function function, bool turned)
    {
        var device = place == "cpu" ? Device.Cpu : Gpu.Require();
        using var scope = TensorScope.Open();
        var leaves = inputs.Select((values, i) =>
        {
            var tensor = Tensor.From<double>(values, shapes[i]).To(dtype).To(device);
            return (turned && shapes[i].Length > 1 ? Turned(tensor) : tensor).Detach().Keep().WithGrad();
        }).ToArray();
        var value = function([.. leaves.Select(l => l.Tensor)]);
        Weighed(value).Backward();
        double[][] results = [KernelData.Doubles(value.To(Device.Cpu)), .. leaves.Select(l => KernelData.Doubles(l.Tensor.Grad().To(Device.Cpu)))];
        Array.ForEach(leaves, l => l.Dispose());
        return results;
    }

    // The same values with the last two dimensions the other way round in memory.
    private static Tensor Turned(Tensor tensor)
    {
        var other = tensor.Transpose(-1, -2);
        return other.Reshape(-1).Reshape(other.Shape()).Transpose(-1, -2);
    }

    // A sum with weights that bfloat16 holds exactly.
    private static Tensor Weighed(Tensor value)
    {
        var flat = value.To(Device.Cpu, Dtype.Float64).Reshape(-1);
        var weights = Enumerable.Range(0, (int)flat.Elements).Select(i => Math.Round(8 * Math.Cos(i)) / 8 + 1.25).ToArray();
        return (flat * Tensor.From<double>(weights, weights.Length)).Sum();
    }
}
