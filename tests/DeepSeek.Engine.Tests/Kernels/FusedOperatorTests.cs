using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>Activations, rotary embedding and chunked cross entropy against libtorch in float64, values and gradients.</summary>
public sealed class FusedOperatorTests
{
    private delegate Tensor Function(Tensor[] inputs);

    [Theory]
    [InlineData(3, 21)]
    [InlineData(1, 1)]
    [InlineData(5, 128)]
    public void BiasGelu_WithTheNormalDistribution_EqualsFloat64(int rows, int columns) =>
        Compare([[rows, columns], [columns]], 3, t => FusedActivations.BiasGelu(t[0], t[1]), t => (t[0] + t[1]).Gelu());

    [Theory]
    [InlineData(3, 21)]
    [InlineData(4, 64)]
    public void BiasGelu_ByTanh_EqualsFloat64(int rows, int columns) =>
        Compare([[rows, columns], [columns]], 3, t => FusedActivations.BiasGelu(t[0], t[1], true), t =>
        {
            var x = t[0] + t[1];
            return x * (((x + x * x * x * 0.044715) * Math.Sqrt(2 / Math.PI)).Tanh() + 1) * 0.5;
        });

    [Fact]
    public void SwiGlu_OfOddShapes_EqualsFloat64() => Compare([[3, 5, 7], [3, 5, 7]], 2, t => FusedActivations.SwiGlu(t[0], t[1]), t => t[0].Silu() * t[1]);

    [Theory]
    [InlineData(6, false)]
    [InlineData(6, true)]
    [InlineData(64, false)]
    [InlineData(64, true)]
    public void Rotary_OfHeads_EqualsFloat64(int width, bool interleaved)
    {
        using var scope = TensorScope.Open();
        var (cosine, sine) = Rotary.Tables(11, 5, width);
        Compare([[2, 3, 5, width]], 1, t => Rotary.Apply(t[0], cosine, sine, interleaved), t =>
        {
            var (c, s) = (cosine.To(Dtype.Float64), sine.To(Dtype.Float64));
            var half = width / 2;
            var pairs = interleaved ? t[0].Reshape(2, 3, 5, half, 2).Transpose(-1, -2) : t[0].Reshape(2, 3, 5, 2, half);
            var (a, b) = (pairs.Narrow(-2, 0, 1).Reshape(2, 3, 5, half), pairs.Narrow(-2, 1, 1).Reshape(2, 3, 5, half));
            var turned = Tensor.Cat([(a * c - b * s).Reshape(2, 3, 5, 1, half), (a * s + b * c).Reshape(2, 3, 5, 1, half)], -2);
            return (interleaved ? turned.Transpose(-1, -2) : turned).Reshape(2, 3, 5, width);
        });
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(100)]
    public void CrossEntropy_InChunks_EqualsFloat64(int chunk)
    {
        using var scope = TensorScope.Open();
        var target = Tensor.From<long>([3, -100, 36, 0, 5, 5, -100, 12, 1], 9);
        Compare([[9, 13], [37, 13]], 2, t => ChunkedCrossEntropy.Loss(t[0], t[1], target, -100, chunk), t => Losses.CrossEntropy(t[0].MatMul(t[1].Transpose(0, 1)), target));
    }

    [Fact]
    public void CrossEntropy_OfLargeLogits_StaysFinite()
    {
        using var scope = TensorScope.Open();
        var hidden = Tensor.From<float>([300, -300, 1, 0], 2, 2);
        var weight = Tensor.From<float>([1, 0, 0, 1, -1, 0], 3, 2);
        var target = Tensor.From<long>([1, 0], 2);
        var expected = Losses.CrossEntropy(hidden.To(Dtype.Float64).MatMul(weight.To(Dtype.Float64).Transpose(0, 1)), target).Item();
        Assert.Equal(expected, ChunkedCrossEntropy.Loss(hidden, weight, target).Item(), 1e-4);
        Assert.True(double.IsNaN(ChunkedCrossEntropy.Loss(hidden, weight, Tensor.From<long>([7, 0], 2)).Item()));
        Assert.True(double.IsNaN(ChunkedCrossEntropy.Loss(hidden, weight, Tensor.From<long>([-100, -100], 2)).Item()));
    }

    [Fact]
    public void Operators_OfNothing_GiveNothing()
    {
        using var scope = TensorScope.Open();
        Assert.Equal([0, 4], FusedActivations.BiasGelu(Tensor.Empty(Dtype.Float32, 0, 4)).Shape());
        Assert.Equal([2, 0], FusedActivations.SwiGlu(Tensor.Empty(Dtype.Float32, 2, 0), Tensor.Empty(Dtype.Float32, 2, 0)).Shape());
        var (cosine, sine) = Rotary.Tables(0, 3, 4);
        Assert.Equal([0, 3, 4], Rotary.Apply(Tensor.Empty(Dtype.Float32, 0, 3, 4), cosine, sine).Shape());
        Assert.Contains("tables are float32 [3, 3]", Assert.ThrowsAny<Exception>(() => Rotary.Apply(Tensor.Empty(Dtype.Float32, 1, 3, 6), cosine, sine)).Message);
    }

    /// <summary>Values and gradients in float32 on each instruction set, in bfloat16 and float16, and through strided views, against float64.</summary>
    private static void Compare(long[][] shapes, int scale, Function ours, Function reference)
    {
        foreach (var dtype in new[] { Dtype.Float32, Dtype.BFloat16, Dtype.Float16 })
        {
            var inputs = shapes.Select((shape, i) => KernelData.Rounded([.. KernelData.Normal(i + 1, shape.Aggregate(1L, (a, b) => a * b)).Select(v => v * scale / 2)], dtype)).ToArray();
            var expected = Run(inputs, shapes, Dtype.Float64, reference, false);
            KernelData.OnEachInstructionSet(set =>
            {
                foreach (var strided in new[] { false, true })
                {
                    var actual = Run(inputs, shapes, dtype, ours, strided);
                    for (var i = 0; i < expected.Length; i++)
                    {
                        // float32: a few roundings of terms of size one; halves: one rounding of the result, and of the chunk's gradient.
                        var unit = dtype switch { Dtype.BFloat16 => 1.0 / 128, Dtype.Float16 => 1.0 / 1024, _ => 3e-6 };
                        var size = Math.Max(1, expected[i].Select(Math.Abs).DefaultIfEmpty(0).Max());
                        KernelData.Near(expected[i], actual[i], unit * size, unit, $"{set} {dtype} strided {strided} output {i} ");
                    }
                }
            });
        }
    }

    private static double[][] Run(double[][] inputs, long[][] shapes, Dtype dtype, Function function, bool strided)
    {
        using var scope = TensorScope.Open();
        var leaves = inputs.Select((values, i) =>
        {
            var tensor = Tensor.From<double>(values, shapes[i]).To(dtype);
            // The same values, laid out with the last two dimensions the other way round in memory.
            return (strided && shapes[i].Length > 1 ? Transposed(tensor) : tensor).Detach().Keep().WithGrad();
        }).ToArray();
        var value = function([.. leaves.Select(l => l.Tensor)]);
        var flat = value.To(Dtype.Float64).Reshape(-1);
        var weights = Enumerable.Range(0, (int)flat.Elements).Select(i => Math.Round(8 * Math.Cos(i)) / 8 + 1.25).ToArray();
        (flat * Tensor.From<double>(weights, weights.Length)).Sum().Backward();
        double[][] results = [KernelData.Doubles(value), .. leaves.Select(l => KernelData.Doubles(l.Tensor.Grad()))];
        Array.ForEach(leaves, l => l.Dispose());
        return results;
    }

    private static Tensor Transposed(Tensor tensor) => Tensor.From<double>(KernelData.Doubles(tensor.Transpose(-1, -2)), tensor.Transpose(-1, -2).Shape()).To(tensor.Dtype).Transpose(-1, -2);
}
