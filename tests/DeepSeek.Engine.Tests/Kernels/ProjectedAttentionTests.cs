using DeepSeek.Engine.Cuda;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

public sealed class ProjectedAttentionTests
{
    // Float32: sums of at most 64 terms. Half precision: scores and weights are rounded inside, and each result is; on the GPU in cuDNN's
    // and in FlashAttention's kernels. Sums over rows of gradients that
    // nearly cancel, such as the keys' (a shift of all keys changes nothing), keep the rounding of their terms.
    [Theory]
    [InlineData("cpu", Dtype.Float32, 2, 5, 3, 4, true, AttentionKinds.None, 1e-5)]
    [InlineData("cpu", Dtype.Float32, 1, 7, 2, 3, false, AttentionKinds.None, 1e-5)]
    [InlineData("cpu", Dtype.BFloat16, 2, 5, 3, 4, true, AttentionKinds.None, 3e-2)]
    [InlineData("cuda:0", Dtype.Float32, 2, 5, 3, 4, true, AttentionKinds.None, 1e-5)]
    [InlineData("cuda:0", Dtype.BFloat16, 2, 64, 3, 64, true, AttentionKinds.CuDnn, 4e-2)]
    [InlineData("cuda:0", Dtype.BFloat16, 3, 129, 2, 64, true, AttentionKinds.CuDnn, 4e-2)]
    [InlineData("cuda:0", Dtype.Float16, 2, 96, 2, 64, false, AttentionKinds.CuDnn, 6e-3)]
    [InlineData("cuda:0", Dtype.BFloat16, 2, 129, 2, 64, true, AttentionKinds.Flash, 4e-2)]
    public void ProjectedAttention_OfShapes_IsAttentionInFloat64(string place, Dtype dtype, int n, int length, int heads, int width, bool causal, AttentionKinds kinds, double tolerance)
    {
        var device = place == "cpu" ? Device.Cpu : Gpu.Require();
        var inner = heads * width;
        long[][] shapes = [[n, length, 8], [3 * inner, 8], [3 * inner]];
        double[][] values = [.. shapes.Select((s, i) => KernelData.Rounded([.. KernelData.Normal(i + 4, s.Aggregate(1L, (a, b) => a * b)).Select(v => v / 2)], dtype))];
        var expected = Run(Device.Cpu, Dtype.Float64, shapes, values, t => Reference(t, heads, causal));
        if (device.IsCuda)
        {
            CudaDevice.AllowAttention(kinds);
        }
        try
        {
            var actual = Run(device, dtype, shapes, values, t => FusedLinear.ProjectedAttention(t[0], t[1], t[2], heads, causal));
            Assert.All(expected.Zip(actual), pair => Assert.InRange(Distance(pair.First, pair.Second), 0, tolerance));
            var twice = Run(device, dtype, shapes, values, t => Twice(t, heads, causal));
            Assert.All(expected.Zip(twice), pair => Assert.InRange(Distance(pair.First, pair.Second), 0, tolerance));
        }
        finally
        {
            if (device.IsCuda)
            {
                CudaDevice.AllowAttention(AttentionKinds.Flash | AttentionKinds.MemoryEfficient | AttentionKinds.CuDnn);
            }
        }
    }

    // Kept is the result where cuDNN made it, and nothing elsewhere.
    private static Tensor Twice(Tensor[] t, int heads, bool causal)
    {
        Span<Tensor> made = [default, default, default, default, default];
        Checkpoint.Run(
            (x, y) => y[0] = FusedLinear.ProjectedAttentionFirst(x[0], x[1], x[2], heads, causal, y[1..]),
            (x, kept, addends) => addends[0] = FusedLinear.ProjectedAttentionAgain(x[0], x[1], x[2], heads, causal, kept), t, made, results: 1, kept: 4);
        return made[0];
    }

    [Fact]
    public void ProjectedAttention_Float64_HasTheGradientsOfCentralDifferences()
    {
        long[][] shapes = [[2, 3, 4], [12, 4], [12]];
        double[][] values = [.. shapes.Select((s, i) => Array.ConvertAll(KernelData.Normal(i + 6, s.Aggregate(1L, (a, b) => a * b)), v => (double)v))];
        static Tensor Attend(Tensor[] t) => FusedLinear.ProjectedAttention(t[0], t[1], t[2], 2, true);
        var gradients = Run(Device.Cpu, Dtype.Float64, shapes, values, Attend)[1..];
        for (var i = 0; i < values.Length; i++)
        {
            KernelData.Near(KernelData.Differences(values[i], Loss), gradients[i], 1e-7, 1e-7, $"input {i} ");
        }

        double Loss()
        {
            using var scope = TensorScope.Open();
            return Weighed(Attend([.. values.Select((v, i) => Tensor.From<double>(v, shapes[i]))])).Item();
        }
    }

    [Fact]
    public void ProjectedAttention_OfAWeightThatHeadsDoNotDivide_IsRefused()
    {
        using var scope = TensorScope.Open();
        var fault = Assert.Throws<NativeException>(() => FusedLinear.ProjectedAttention(Tensor.Empty(Dtype.Float32, 1, 2, 4), Tensor.Empty(Dtype.Float32, 12, 4), default, 3, true).IsNone);
        Assert.Contains("3 heads", fault.Message, StringComparison.Ordinal);
    }

    // The value and the gradient of each input.
    private static double[][] Run(Device device, Dtype dtype, long[][] shapes, double[][] values, Func<Tensor[], Tensor> attend)
    {
        using var scope = TensorScope.Open();
        var leaves = values.Select((v, i) => Tensor.From<double>(v, shapes[i]).To(dtype).To(device).Detach().Keep().WithGrad()).ToArray();
        var value = attend([.. leaves.Select(l => l.Tensor)]);
        Weighed(value).Backward();
        double[][] results = [KernelData.Doubles(value.To(Device.Cpu)), .. leaves.Select(l => KernelData.Doubles(l.Tensor.Grad().To(Device.Cpu)))];
        Array.ForEach(leaves, l => l.Dispose());
        return results;
    }

    private static Tensor Reference(Tensor[] t, int heads, bool causal)
    {
        var joint = t[0].MatMul(t[1].Transpose(0, 1)) + t[2];
        var (n, length, columns) = (joint.Size(0), joint.Size(1), joint.Size(2) / 3);
        var parts = Enumerable.Range(0, 3).Select(i => joint.Narrow(2, i * columns, columns).Reshape(n, length, heads, columns / heads).Transpose(1, 2)).ToArray();
        var scores = parts[0].MatMul(parts[1].Transpose(-2, -1)) * (1 / Math.Sqrt(columns / heads));
        scores = causal ? scores + Functional.CausalMask(scores, length, length) : scores;
        return scores.Softmax(-1).MatMul(parts[2]).Transpose(1, 2).Reshape(n, length, columns);
    }

    private static Tensor Weighed(Tensor value)
    {
        var flat = value.To(Device.Cpu, Dtype.Float64).Reshape(-1);
        var weights = Enumerable.Range(0, (int)flat.Elements).Select(i => Math.Round(8 * Math.Cos(i)) / 8).ToArray();
        return (flat * Tensor.From<double>(weights, weights.Length)).Sum();
    }

    private static double Distance(double[] expected, double[] actual) => Math.Sqrt(expected.Zip(actual, (a, b) => (a - b) * (a - b)).Sum() / expected.Sum(a => a * a));
}
