using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>The tiled CPU kernels against the operator's float64 path, which plain libtorch operators compute.</summary>
public sealed class CpuAttentionTests
{
    [Theory]
    [InlineData(2, 1, 1, 1, 8, 64, 64, 1, false)]
    [InlineData(4, 2, 150, 200, 64, 64, 64, 1, true)]
    [InlineData(2, 2, 129, 70, 24, 16, 32, 2, false)]
    [InlineData(2, 1, 200, 200, 40, 128, 64, 2, true)]
    [InlineData(2, 2, 90, 130, 128, 32, 100, 2, true)]
    [InlineData(4, 2, 1, 200, 24, 64, 64, 1, true)]
    [InlineData(2, 2, 2, 130, 40, 64, 100, 2, false)]
    [InlineData(2, 1, 3, 130, 33, 64, 32, 2, true)]
    [InlineData(2, 2, 4, 77, 64, 2, 16, 2, true)]
    public void Attention_OnEachInstructionSet_EqualsFloat64(int heads, int kvHeads, int queries, int keys, int dim, int queryBlock, int keyBlock, int every, bool causal)
    {
        foreach (var dtype in new[] { Dtype.Float32, Dtype.BFloat16, Dtype.Float16 })
        {
            var expected = Run(dtype, Dtype.Float64);
            KernelData.OnEachInstructionSet(set =>
            {
                var actual = Run(dtype, dtype);
                for (var i = 0; i < expected.Length; i++)
                {
                    // float32: sums of up to 200 terms; halves: the inputs are the same, results and the saved output are rounded once each.
                    var unit = dtype switch { Dtype.BFloat16 => 1.0 / 64, Dtype.Float16 => 1.0 / 512, _ => 1e-5 };
                    KernelData.Near(expected[i], actual[i], unit * Math.Max(1, expected[i].Max(Math.Abs)), unit, $"{set} {dtype} output {i} ");
                }
            });
        }

        double[][] Run(Dtype stored, Dtype computed)
        {
            using var scope = TensorScope.Open();
            var inputs = new[] { (heads, queries), (kvHeads, keys), (kvHeads, keys) }
                .Select((s, i) => Tensor.From<float>(KernelData.Normal(i + 1, 2L * s.Item1 * s.Item2 * dim), 2, s.Item2, s.Item1, dim).To(stored).To(computed).Transpose(1, 2).Keep().WithGrad()).ToArray();
            var output = Call(inputs, Every(queries, keys, queryBlock, keyBlock, every), queryBlock, keyBlock, causal);
            var weights = Tensor.From<float>(KernelData.Normal(9, output.Elements), 2, heads, queries, dim).To(stored).To(Dtype.Float64);
            (output.To(Dtype.Float64) * weights).Sum().Backward();
            double[][] results = [KernelData.Doubles(output), .. inputs.Select(t => KernelData.Doubles(t.Tensor.Grad()))];
            Array.ForEach(inputs, t => t.Dispose());
            return results;
        }
    }

    [Fact]
    public void Attention_TwentyTimes_GivesTheSameBits()
    {
        float[] Run()
        {
            using var scope = TensorScope.Open();
            var inputs = Enumerable.Range(1, 3).Select(i => TensorHandle.From<float>(KernelData.Normal(i, 4 * 130 * 16), 1, 4, 130, 16).WithGrad()).ToArray();
            var output = Call(inputs, Every(130, 130, 64, 64, 1), 64, 64, true);
            (output * output).Sum().Backward();
            float[] result = [.. output.ToArray<float>(), .. inputs.SelectMany(t => t.Tensor.Grad().ToArray<float>())];
            Array.ForEach(inputs, t => t.Dispose());
            return result;
        }
        var first = Run();
        Assert.All(Enumerable.Range(0, 19), _ => Assert.Equal(first, Run()));
    }

    private static Tensor Call(TensorHandle[] inputs, BlockSelection selection, int queryBlock, int keyBlock, bool causal) =>
        SparseAttention.WithBlocks(inputs[0].Tensor, inputs[1].Tensor, inputs[2].Tensor, selection, queryBlock, keyBlock, causal).Output;

    /// <summary>Every n-th block of keys, from another one for each block of queries, for all heads and sequences of a batch of two (or one).</summary>
    private static BlockSelection Every(int queries, int keys, int queryBlock, int keyBlock, int every)
    {
        var (rows, columns) = ((queries + queryBlock - 1) / queryBlock, (keys + keyBlock - 1) / keyBlock);
        var batch = queries == keys && queries == 130 ? 1 : 2;
        var (index, count) = (new int[batch * rows * columns], new int[batch * rows]);
        for (var i = 0; i < batch * rows; i++)
        {
            for (var j = i % rows % every; j < columns; j += every)
            {
                index[i * columns + count[i]++] = j;
            }
        }
        return new BlockSelection(Tensor.From<int>(index, batch, 1, rows, columns), Tensor.From<int>(count, batch, 1, rows));
    }
}
