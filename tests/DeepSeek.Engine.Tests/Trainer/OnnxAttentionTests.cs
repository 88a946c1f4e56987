using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;
using DeepSeek.Engine.Tests.Kernels;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>The operator of libdeepseek_onnx.so, in a session of ONNX Runtime, against the engine's operators and against loops in float64.</summary>
public sealed class OnnxAttentionTests
{
    public static TheoryData<OnnxAttentionShape, SparsePolicy> Cases()
    {
        var policy = new SparsePolicy { QueryBlock = 16, KeyBlock = 16, Stride = 8, Density = 0.25, Estimate = BlockEstimate.Sampled };
        var antidiagonal = policy with { Estimate = BlockEstimate.Antidiagonal, Stride = 4, Density = 0.3 };
        return new()
        {
            { new(2, 4, 4, 100, 100, 24), policy },
            { new(2, 4, 2, 130, 130, 64), policy with { Power = 2, SharedBudget = true, Density = 0.4 } },
            { new(1, 6, 2, 70, 200, 33), policy with { Power = double.PositiveInfinity, KeyBlock = 32, SinkBlocks = 2, WindowBlocks = 0, MinimumBlocks = 3, Density = 0.1 } },
            { new(1, 2, 2, 150, 150, 16), policy with { Mass = 0.7, Density = 0.9 } },
            { new(2, 4, 2, 90, 150, 40, Causal: false), policy with { QueryBlock = 64, KeyBlock = 64, Stride = 16 } },
            { new(2, 4, 2, 110, 130, 24), antidiagonal },
            { new(1, 4, 4, 5, 300, 64), antidiagonal },
            { new(2, 4, 2, 9, 300, 20), antidiagonal with { Power = 2 } },
            { new(2, 4, 2, 110, 130, 24), policy with { Estimate = BlockEstimate.Pooled, Power = 2 } },
            // Texts of different lengths, padded at the end; what lies behind them must not be read.
            { new(3, 4, 2, 130, 130, 24, Lengths: [130, 61, 0]), policy },
            { new(3, 4, 2, 40, 130, 24, Lengths: [128, 91, 7]), antidiagonal },
            { new(2, 4, 2, 60, 100, 24, Lengths: [77, 100]), policy with { Estimate = BlockEstimate.Pooled } },
            { new(2, 4, 2, 60, 100, 24, Causal: false, Lengths: [77, 3]), policy with { SharedBudget = true } },
            // Tokens that are being generated.
            { new(1, 8, 8, 1, 500, 64), policy with { QueryBlock = 64, KeyBlock = 64, Density = 0.2 } },
            { new(2, 8, 2, 1, 500, 64), policy with { Power = 2, SharedBudget = true } },
            { new(3, 4, 2, 1, 300, 24, Lengths: [300, 123, 1]), policy },
            { new(2, 4, 4, 3, 300, 24), policy },
            { new(1, 6, 3, 4, 77, 20), policy with { QueryBlock = 2, Stride = 1 } },
            { new(1, 2, 2, 5, 77, 20), policy },
            { new(2, 4, 4, 1, 300, 24), antidiagonal },
        };
    }

    // The kernels are the same, and both sides choose the instruction set that this machine has: sums are in the same order but for threads.
    [Theory]
    [MemberData(nameof(Cases))]
    public void Session_UnderAPolicy_ComputesWhatTheEngineComputes(OnnxAttentionShape shape, SparsePolicy policy)
    {
        using var scope = TensorScope.Open();
        var (q, k, v) = shape.Inputs();
        var expected = SparseAttention.Of(
            Tensor.From<float>(q, shape.N, shape.H, shape.T, shape.D), Tensor.From<float>(k, shape.N, shape.KvHeads, shape.S, shape.D), Tensor.From<float>(v, shape.N, shape.KvHeads, shape.S, shape.D),
            policy, shape.Causal, Lengths(shape.QueryLengths), Lengths(shape.Lengths));

        var actual = OnnxAttention.Run(shape, policy, q, k, v);

        KernelData.Near(KernelData.Doubles(expected), Array.ConvertAll(actual, x => (double)x), 1e-5, 1e-5, "output");

        static Tensor Lengths(int[]? lengths) => lengths is null ? default : Tensor.From<int>(lengths, lengths.Length);
    }

    [Theory]
    [InlineData(1, 4, 2, 70, 130, 24, true)]
    [InlineData(2, 2, 2, 90, 60, 64, false)]
    [InlineData(1, 8, 2, 1, 200, 40, true)]
    [InlineData(1, 4, 4, 4, 200, 40, true)]
    public void Session_OfAllBlocks_ComputesDenseAttention(int n, int heads, int kvHeads, int queries, int keys, int dim, bool causal)
    {
        var shape = new OnnxAttentionShape(n, heads, kvHeads, queries, keys, dim, causal);
        var (q, k, v) = shape.Inputs();
        var policy = new SparsePolicy { Density = 1, QueryBlock = 32, KeyBlock = 32 };

        var actual = OnnxAttention.Run(shape, policy, q, k, v);

        var reference = new SparseAttentionReference(heads, kvHeads, queries, keys, dim, 32, 32, causal, queries, keys) { Listed = (_, _, _) => true };
        for (var i = 0; i < n; i++)
        {
            var (one, other) = (heads * queries * dim, kvHeads * keys * dim);
            var (expected, _) = reference.Forward(Doubles(q, i, one), Doubles(k, i, other), Doubles(v, i, other));
            // Softmax sums of up to 200 terms in float32.
            KernelData.Near(expected, Doubles(actual, i, one), 1e-5, 1e-5, "output");
        }

        static double[] Doubles(float[] x, int part, int size) => Array.ConvertAll(x[(part * size)..((part + 1) * size)], value => (double)value);
    }

    [Fact]
    public void Session_OfAnyNumberOfThreads_GivesTheSameBits()
    {
        var shape = new OnnxAttentionShape(2, 4, 2, 300, 300, 24);
        var (q, k, v) = shape.Inputs();
        var policy = new SparsePolicy { QueryBlock = 16, KeyBlock = 16, Stride = 8, Estimate = BlockEstimate.Sampled };
        var one = OnnxAttention.Run(shape, policy, q, k, v, threads: 1);

        Assert.Equal(one, OnnxAttention.Run(shape, policy, q, k, v, threads: 4));
        // Several runs of one session at a time share its threads.
        using var session = OnnxAttention.Session(shape, policy, threads: 3);
        var results = new float[8][];
        Parallel.For(0, results.Length, i => results[i] = OnnxAttention.Run(session, shape, q, k, v));
        Assert.All(results, result => Assert.Equal(one, result));
    }

    [Fact]
    public void Session_OfADensityThatNoFloatHolds_CountsBlocksAsTheEngineDoes()
    {
        // A tenth of ten blocks is one, though the float nearest to a tenth is more.
        var shape = new OnnxAttentionShape(1, 1, 1, 1, 160, 8);
        var (q, k, _) = shape.Inputs();
        var v = Enumerable.Range(0, 160).SelectMany(row => Enumerable.Repeat((float)(row / 16), 8)).ToArray();
        var policy = new SparsePolicy { QueryBlock = 16, KeyBlock = 16, Stride = 16, Density = 0.1, SinkBlocks = 0, WindowBlocks = 0 };

        var output = OnnxAttention.Run(shape, policy, q, k, v);

        Assert.All(output, value => Assert.Equal(9, value, 1e-5f)); // the diagonal's block alone
    }

    [Fact]
    public void Session_OfAnUndeclaredOutput_KnowsThatItsShapeIsTheQueries()
    {
        using var session = OnnxAttention.Session(new(1, 4, 2, 70, 130, 24), new SparsePolicy());

        Assert.Equal([-1, 4, -1, 24], session.OutputMetadata["out"].Dimensions);
    }

    [Theory]
    [InlineData("k", 2, 3, 100, 24, "'k' is [2, 3, 100, 24]; it must be [N, Hkv, S, D] with Hkv a divisor of the 4 heads")]
    [InlineData("k", 1, 2, 100, 24, "'k' is [1, 2, 100, 24]; it must be [N, Hkv, S, D] with N and D of 'q', [2, 4, 50, 24]")]
    [InlineData("v", 2, 2, 99, 24, "'v' is [2, 2, 99, 24]; it must be like 'k', [2, 2, 100, 24]")]
    [InlineData("key_lengths", 3, 0, 0, 0, "'key_lengths' is [3]; it must be [2]")]
    public void Session_OfInputsThatDoNotFit_IsRefusedByName(string input, int a, int b, int c, int d, string message)
    {
        using var session = OnnxAttention.Session(new(2, 4, 2, 50, 100, 24), new SparsePolicy(), anyShape: true);
        var shapes = new Dictionary<string, long[]> { ["q"] = [2, 4, 50, 24], ["k"] = [2, 2, 100, 24], ["v"] = [2, 2, 100, 24], ["key_lengths"] = [2] };
        shapes[input] = input == "key_lengths" ? [a] : [a, b, c, d];
        var values = shapes.ToDictionary(s => s.Key, s => s.Key == "key_lengths" ? OnnxAttention.Tensor(new long[s.Value[0]], s.Value) : OnnxAttention.Tensor(new float[s.Value.Aggregate((x, y) => x * y)], s.Value));

        var fault = Assert.Throws<OnnxRuntimeException>(() => session.Run(new RunOptions(), values, ["out"]).Dispose());

        Assert.Contains(message, fault.Message, StringComparison.Ordinal);
        foreach (var value in values.Values)
        {
            value.Dispose();
        }
    }

    [Theory]
    [InlineData("stride", 7L, "'block_q' is 128; it must be a multiple of 'stride', 7")]
    [InlineData("estimate", 3L, "'estimate' is 3; it must be from 0 to 2")]
    [InlineData("block_k", 0L, "'block_k' is 0; it must be from 1")]
    [InlineData("density", 0f, "'density' is 0.000000; it must be more than 0")]
    [InlineData("mass", float.NaN, "nan; it must be more than 0, and at most 1")]
    [InlineData("power", 3f, "'power' is 3.000000; it must be 1, 2, or 0")]
    [InlineData("scale", float.PositiveInfinity, "'scale' is inf; it must be more than 0, and finite")]
    [InlineData("scale", -1f, "'scale' is -1.000000; it must be more than 0")]
    [InlineData("causal", null, "'causal' is missing")]
    public void Session_OfABadAttribute_IsRefusedByName(string attribute, object? value, string message)
    {
        var fault = Assert.Throws<OnnxRuntimeException>(() => OnnxAttention.Session(new(1, 4, 2, 50, 100, 24), new SparsePolicy(), change: (attribute, value)).Dispose());

        Assert.Contains(message, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Session_WithoutRows_GivesZerosOrNothing()
    {
        using var session = OnnxAttention.Session(new(2, 4, 2, 50, 100, 24), new SparsePolicy(), anyShape: true);

        Assert.All(OnnxAttention.Run(session, new(2, 4, 2, 3, 0, 24), new float[2 * 4 * 3 * 24], [], []), value => Assert.Equal(0, value));
        Assert.Empty(OnnxAttention.Run(session, new(2, 4, 2, 0, 10, 24), [], new float[2 * 2 * 10 * 24], new float[2 * 2 * 10 * 24]));
    }
}
