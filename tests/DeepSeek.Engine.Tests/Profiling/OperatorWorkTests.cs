using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Profiling;

/// <summary>Operations and bytes against numbers counted by hand; the products stand in the form in which they were counted.</summary>
public sealed class OperatorWorkTests
{
    [Theory]
    // [3,5]·[5,7]: 105 multiply-adds; 15 + 35 + 21 floats.
    [InlineData("aten::mm|T6:0[3,5] T6:0[5,7]|T6:0[3,7]", 2.0 * 3 * 5 * 7.0, 4.0 * (15 + 35 + 21.0))]
    [InlineData("aten::mm|T15:1[3,5] T15:1[5,7]|T15:1[3,7]", 210.0, 2.0 * 71.0)]
    [InlineData("aten::addmm|T6:0[7] T6:0[3,5] T6:0[5,7] D1 D1|T6:0[3,7]", 210.0, 4.0 * (7 + 15 + 35 + 21.0))]
    [InlineData("aten::bmm|T6:0[2,3,5] T6:0[2,5,7]|T6:0[2,3,7]", 2.0 * 2 * 105.0, 4.0 * 2 * 71.0)]
    [InlineData("aten::linear|T6:0[2,4,8] T6:0[16,8] T6:0[16]|T6:0[2,4,16]", 2.0 * 8 * 16 * 8.0, 4.0 * (64 + 128 + 16 + 128.0))]
    [InlineData("aten::matmul|T6:0[2,1,3,5] T6:0[4,5,7]|T6:0[2,4,3,7]", 2.0 * 2 * 4 * 105.0, 4.0 * (30 + 140 + 168.0))]
    [InlineData("aten::matmul|T6:0[5] T6:0[5]|T6:0[]", 10.0, 4.0 * 11.0)]
    // 4 maps of 64 places, 3 channels of 3x3 each.
    [InlineData("aten::conv2d|T6:0[2,3,8,8] T6:0[4,3,3,3] N L[1,1] L[1,1] L[1,1] I1|T6:0[2,4,8,8]", 2.0 * 2 * 4 * 64 * 27.0, 4.0 * (384 + 108 + 512.0))]
    [InlineData("aten::conv2d|T6:0[1,6,5,5] T6:0[6,1,3,3] N L[1,1] L[1,1] L[1,1] I6|T6:0[1,6,5,5]", 2.0 * 6 * 25 * 9.0, 4.0 * (150 + 54 + 150.0))]
    [InlineData("aten::convolution|T6:0[1,2,9] T6:0[5,2,3] N L[2] L[0] L[1] B0 L[0] I1|T6:0[1,5,4]", 2.0 * 5 * 4 * 6.0, 4.0 * (18 + 30 + 20.0))]
    // Transposed: each of 2·16 inputs meets 3 maps of 2x2.
    [InlineData("aten::conv_transpose2d|T6:0[1,2,4,4] T6:0[2,3,2,2] N L[2,2]|T6:0[1,3,8,8]", 2.0 * 32 * 12.0, 4.0 * (32 + 24 + 192.0))]
    [InlineData("aten::convolution|T6:0[1,2,4,4] T6:0[2,3,2,2] N L[2,2] L[0,0] L[1,1] B1 L[0,0] I1|T6:0[1,3,8,8]", 2.0 * 32 * 12.0, 4.0 * (32 + 24 + 192.0))]
    [InlineData("aten::convolution_backward|T6:0[2,4,8,8] T6:0[2,3,8,8] T6:0[4,3,3,3] N L[1,1] L[1,1] L[1,1] B0 L[0,0] I1 L[1,1,0]|T6:0[2,3,8,8] T6:0[4,3,3,3] N",
        2.0 * 2 * (2.0 * 4 * 64 * 27), 4.0 * (512 + 384 + 108 + 384 + 108))]
    // Without the input's gradient: half the products, and the weight is not read.
    [InlineData("aten::convolution_backward|T6:0[2,4,8,8] T6:0[2,3,8,8] T6:0[4,3,3,3] N L[1,1] L[1,1] L[1,1] B0 L[0,0] I1 L[0,1,0]|N T6:0[4,3,3,3] N",
        2.0 * 2 * 4 * 64 * 27, 4.0 * (512 + 384 + 108))]
    // One batch, 2 heads, 4 queries, 6 keys, width 8: 24 pairs a head, or 1+2+3+4 when causal.
    [InlineData("aten::scaled_dot_product_attention|T6:0[1,2,4,8] T6:0[1,2,6,8] T6:0[1,2,6,8] N D0 B0 N B0|T6:0[1,2,4,8]", 2.0 * 2 * 24 * 16.0, 4.0 * (64 + 96 + 96 + 64.0))]
    [InlineData("aten::scaled_dot_product_attention|T15:1[1,2,4,8] T15:1[1,2,4,8] T15:1[1,2,4,8] N D0 B1 N B0|T15:1[1,2,4,8]", 2.0 * 2 * 10 * 16.0, 2.0 * 256.0)]
    [InlineData("aten::_scaled_dot_product_flash_attention_backward|T15:1[1,2,4,8] T15:1[1,2,4,8] T15:1[1,2,4,8] T15:1[1,2,4,8] T15:1[1,2,4,8] T6:1[1,2,4] N N I4 I4 D0 B1 N N|T15:1[1,2,4,8] T15:1[1,2,4,8] T15:1[1,2,4,8]",
        2.0 * 2 * 10 * (3 * 8 + 2 * 8), 2.0 * 8 * 64 + 4 * 8)]
    [InlineData("deepseek::norm|T6:0[4,8] T6:0[8] T6:0[8] D1e-05 B0|T6:0[4,8]", 8.0 * 32.0, 4.0 * (32 + 8 + 8 + 32.0))]
    [InlineData("deepseek::norm|T6:0[4,8] T6:0[8] N D1e-05 B1|T6:0[4,8]", 4.0 * 32.0, 4.0 * (32 + 8 + 32.0))]
    [InlineData("deepseek::dropout_add_norm|T6:0[4,8] T6:0[4,8] T6:0[8] T6:0[8] D0.1 D1e-05 B0 I1 I0 N|T6:0[4,8] T6:0[4,8]", 10.0 * 32.0, 4.0 * (32 + 32 + 16 + 64.0))]
    [InlineData("deepseek::bias_gelu|T6:0[4,8] T6:0[8] B0|T6:0[4,8]", 6.0 * 32.0, 4.0 * (32 + 8 + 32.0))]
    [InlineData("deepseek::swiglu|T6:0[4,8] T6:0[4,8]|T6:0[4,8]", 4.0 * 32.0, 4.0 * 96.0)]
    [InlineData("deepseek::rotary|T6:0[1,2,4,8] T6:0[4,4] T6:0[4,4] B0|T6:0[1,2,4,8]", 3.0 * 64.0, 4.0 * (64 + 32 + 64.0))]
    [InlineData("deepseek::topk|T6:0[4,8] I2 B1|T6:0[4,2] T4:0[4,2]", 0.0, 4.0 * 32 + 4 * 8 + 8 * 8.0)]
    // 4 by 4 groups of 4 rows, an antidiagonal of 4 products of width 8 each; when causal 1+2+3+4 pairs of groups.
    [InlineData("deepseek::block_scores|T6:0[1,2,16,8] T6:0[1,1,16,8] I8 I8 B0 N I4 B0|T6:0[1,2,2,2]", 2.0 * 2 * 16 * 4 * 8.0, 4.0 * (256 + 128 + 8.0))]
    [InlineData("deepseek::block_scores|T6:0[1,2,16,8] T6:0[1,1,16,8] I8 I8 B1 N I4 B0|T6:0[1,2,2,2]", 2.0 * 2 * 10 * 4 * 8.0, 4.0 * (256 + 128 + 8.0))]
    // 4 queries over 6 keys see 3+4+5+6 of them; 2 heads of width 8.
    [InlineData("deepseek::indexer_logits|T6:0[1,4,2,8] T6:0[1,6,8] T6:0[1,4,2] B1 N N N|T6:0[1,4,6]", 18.0 * 2 * (2 * 8 + 2), 4.0 * (64 + 48 + 8 + 24))]
    [InlineData("deepseek::indexer_select|T6:0[1,4,2,8] T6:0[1,6,8] T6:0[1,4,2] I3 B0 N N N|T3:0[1,4,3] T3:0[1,4]", 24.0 * 2 * (2 * 8 + 2), 4.0 * (64 + 48 + 8 + 12 + 4))]
    [InlineData("deepseek::adamw|T6:0[100]|", 1400.0, 2800.0)]
    [InlineData("deepseek::sgd|T6:0[100]|", 600.0, 2000.0)]
    [InlineData("aten::zero_|T6:0[4,8]|T6:0[4,8]", null, 128.0)]
    [InlineData("aten::copy_|T6:0[4,8] T6:0[4,8] B0|T6:0[4,8]", null, 256.0)]
    [InlineData("aten::view|T6:0[4,8] L[32]|T6:0[32]", 0.0, 0.0)]
    public void Of_Call_IsWhatWasCountedByHand(string signature, double? flops, double? bytes) =>
        Assert.Equal(new Work(flops, bytes), OperatorWork.Of(OperatorSignature.Parse(signature)));

    [Fact]
    public void Of_ElementwiseCall_KnowsBytesButNoOperations() =>
        Assert.Equal(new Work(null, 4.0 * 96), OperatorWork.Of(OperatorSignature.Parse("aten::add|T6:0[4,8] T6:0[4,8] I1|T6:0[4,8]")));

    [Fact]
    public void Of_BlockSparseAttention_CountsTheListedBlocks()
    {
        // 5 listed blocks of 8 by 16 for one list of heads, 2 heads, width 4, two products.
        const string Call = "deepseek::block_sparse_attention|T6:0[1,2,32,4] T6:0[1,1,32,4] T6:0[1,1,32,4] T3:0[1,1,4,2] T3:0[1,1,4] I8 I16 B0 N N N|T6:0[1,2,32,4] T6:0[1,2,32]";

        Assert.Equal(2.0 * 2 * 5 * 2 * 8 * 16 * 4, OperatorWork.Of(OperatorSignature.Parse(Call), listed: 5).Flops);
        Assert.Null(OperatorWork.Of(OperatorSignature.Parse(Call)).Flops);
    }

    [Fact]
    public void Of_GatherAttention_CountsTheListedKeys() =>
        // 7 listed keys, 2 heads, two products of width 4.
        Assert.Equal(2.0 * 2 * 7 * 2 * 4, OperatorWork.Of(OperatorSignature.Parse("deepseek::gather_attention|T6:0[1,2,3,4] T6:0[1,1,9,4] T6:0[1,1,9,4] T3:0[1,3,4] T3:0[1,3] N|T6:0[1,2,3,4] T6:0[1,2,3]"), listed: 7).Flops);

    [Fact]
    public void Trace_OfEngineCalls_CountsTheSameWork()
    {
        using var scope = TensorScope.Open();
        var (a, b) = (Tensor.Empty(Dtype.Float32, 3, 5), Tensor.Empty(Dtype.Float32, 5, 7));
        var (x, w) = (Tensor.Empty(Dtype.Float32, 2, 3, 8, 8), Tensor.Empty(Dtype.Float32, 4, 3, 3, 3));
        var (hidden, head, target) = (Tensor.Empty(Dtype.Float32, 6, 8), Tensor.Empty(Dtype.Float32, 10, 8), Tensor.From<long>([0, 1, 2, 3, 4, 5], 6));
        var (q, k) = (Tensor.Empty(Dtype.Float32, 1, 2, 32, 8), Tensor.Empty(Dtype.Float32, 1, 1, 32, 8));
        // Query blocks 0 and 1 list two key blocks, 2 and 3 one each: six.
        var lists = new BlockSelection(Tensor.From<int>([0, 1, 0, 1, 0, -1, 1, -1], 1, 1, 4, 2), Tensor.From<int>([2, 2, 1, 1], 1, 1, 4));
        foreach (var tensor in (Tensor[])[a, b, x, w, hidden, head, q, k])
        {
            tensor.UniformInPlace(-1, 1);
        }
        using var trace = Trace.Start(new TraceOptions { Ceilings = Ceilings.Known });

        _ = a.MatMul(b);
        _ = Functional.Convolution(x, w, padding: 1);
        _ = ChunkedCrossEntropy.Loss(hidden, head, target);
        _ = SparseAttention.WithBlocks(q, k, k, lists, 8, 16, causal: false);

        var report = trace.Stop();
        double? Flops(string name) => report.Operators.Single(o => o.Name == name).Flops;
        Assert.Equal(210, Flops("aten::matmul"));
        Assert.Equal(2.0 * 2 * 4 * 64 * 27, Flops("aten::conv2d"));
        Assert.Equal(2.0 * 6 * 10 * 8, Flops("deepseek::linear_cross_entropy"));
        Assert.Equal(2.0 * 2 * 6 * 2 * 8 * 16 * 8, Flops("deepseek::block_sparse_attention"));
        Assert.Equal(210 + 27648 + 960 + 49152, report.Flops);
    }
}
