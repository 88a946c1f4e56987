using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Kernels;

/// <summary>The CUDA path of the indexer and of gather attention against the CPU's; native/tests/token_sparse_gpu.py has the wide set of cases.</summary>
public sealed class TokenSparseGpuTests
{
    [Fact]
    public void LogitsListsAndAttention_OnAGpu_EqualTheCpus()
    {
        var device = Gpu.Require();
        using var scope = TensorScope.Open();
        var (q, k, w) = LightningIndexerTests.Inputs(2, 3, 40, 50, 300);
        var heads = new[] { (6, 50), (2, 300), (2, 300) }.Select((s, i) => Tensor.From<float>(KernelData.Normal(i + 4, 2L * s.Item1 * s.Item2 * 64), 2, s.Item1, s.Item2, 64)).ToArray();
        var (here, there) = (Run(Device.Cpu), Run(device));
        for (var i = 0; i < here.Length; i++)
        {
            // float32 sums of up to 120 products, in another order; FP8 rows and lists are equal.
            KernelData.Near(here[i], there[i], i < 2 ? 0 : 2e-5, i < 2 ? 0 : 2e-5, $"result {i} ");
        }

        double[][] Run(Device place)
        {
            var (rowsQ, rowsK) = (LightningIndexer.Quantize(q.To(place)), LightningIndexer.Quantize(k.To(place)));
            var selection = LightningIndexer.Select(rowsQ, rowsK, w.To(place), 32);
            var leaves = heads.Select(x => x.To(place).Detach().Keep().WithGrad()).ToArray();
            var output = GatherAttention.Of(leaves[0].Tensor, leaves[1].Tensor, leaves[2].Tensor, selection).Output;
            (output * output).Sum().Backward();
            double[][] results = [KernelData.Doubles(rowsQ.Values), KernelData.Doubles(selection.Index), KernelData.Doubles(LightningIndexer.Logits(rowsQ, rowsK, w.To(place), causal: false)), KernelData.Doubles(output),
                .. leaves.Select(x => KernelData.Doubles(x.Tensor.Grad()))];
            Array.ForEach(leaves, x => x.Dispose());
            return results;
        }
    }
}
