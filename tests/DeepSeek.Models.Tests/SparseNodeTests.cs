using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace DeepSeek.Models.Tests;

/// <summary>The node ai.deepseek::BlockSparseAttention by itself: its function on any runtime, and the platform's operator.</summary>
public sealed class SparseNodeTests
{
    // Sums of a few dozen products in float32, by another order.
    private const double Near = 1e-5;

    private const int Rows = 3;
    private const int Width = 8;

    private static readonly SparsePolicy s_everything = new() { Density = 1, QueryBlock = 16, KeyBlock = 16, Stride = 8 };

    public static TheoryData<int, int, int, int, bool> Shapes => new()
    {
        { 4, 4, 40, 40, true },
        { 4, 2, 40, 40, true },
        { 4, 1, 37, 53, true }, // with 16 keys before them
        { 4, 2, 1, 53, true },
        { 2, 2, 40, 40, false },
        { 2, 1, 24, 40, false },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Function_OnAnyRuntime_IsDenseAttention(int heads, int keyHeads, int queries, int keys, bool causal) =>
        Compare(SparseSession.Plain, s_everything with { Density = 0.1 }, s_everything, heads, keyHeads, queries, keys, causal);

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Operator_WithThePlatformsLibrary_FollowsThePolicy(int heads, int keyHeads, int queries, int keys, bool causal)
    {
        var policies = new[]
        {
            s_everything,
            s_everything with { Density = 0.5, WindowBlocks = 0 },
            s_everything with { Density = 0.4, Estimate = BlockEstimate.Sampled, Power = 2, SharedBudget = true, SinkBlocks = 0 },
            s_everything with { Density = 0.7, Mass = 0.6, Estimate = BlockEstimate.Pooled, Power = double.PositiveInfinity, QueryBlock = 8, Stride = 4, MinimumBlocks = 2 },
        };
        foreach (var policy in policies)
        {
            Compare(SparseSession.Platform, policy, SparseSession.HasLibrary ? policy : s_everything, heads, keyHeads, queries, keys, causal);
        }
    }

    private static void Compare(Func<byte[], InferenceSession> open, SparsePolicy written, SparsePolicy reference, int heads, int keyHeads, int queries, int keys, bool causal)
    {
        using var scope = TensorScope.Open();
        var (q, k, v) = (Noise.Uniform("q", Rows, heads, queries, Width) * 3, Noise.Uniform("k", Rows, keyHeads, keys, Width) * 3, Noise.Uniform("v", Rows, keyHeads, keys, Width));
        // One whole, one that ends within a block, one as short as it can be; what lies behind is no number.
        long[] lengths = [keys, keys - (queries / 3), keys - queries + 1];
        Spoil(q, [.. lengths.Select(length => length - (keys - queries))]);
        Spoil(k, lengths);
        Spoil(v, lengths);
        var (queryEnds, keyEnds) = (Int32(lengths, queries - keys), Int32(lengths, 0));
        var expected = SparseAttention.Of(q, k, v, reference, causal, queryEnds, keyEnds).ToArray<float>();

        using var session = open(OnnxModels.ToBytes(Model(written, heads, keyHeads, causal)));
        using var options = new RunOptions();
        using var results = session.Run(
            options, ["q", "k", "v", "lengths"], [Value(q), Value(k), Value(v), OrtValue.CreateTensorValueFromMemory(lengths, [Rows])], ["y"]);

        Assert.Equal(q.Shape(), results[0].GetTensorTypeAndShape().Shape);
        var actual = results[0].GetTensorDataAsSpan<float>().ToArray();
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, Near));
    }

    private static void Spoil(Tensor tensor, long[] lengths)
    {
        for (var row = 0; row < Rows; row++)
        {
            var hidden = tensor.Size(2) - lengths[row];
            if (hidden > 0)
            {
                var part = tensor.Narrow(0, row, 1).Narrow(2, lengths[row], hidden);
                part.CopyInPlace(part.NewFull(double.NaN, part.Shape()));
            }
        }
    }

    private static Tensor Int32(long[] lengths, long offset) => Tensor.From<long>([.. lengths.Select(length => length + offset)], Rows).To(Dtype.Int32);

    private static OrtValue Value(Tensor tensor) => OrtValue.CreateTensorValueFromMemory(tensor.ToArray<float>(), tensor.Shape());

    private static global::Onnx.ModelProto Model(SparsePolicy policy, int heads, int keyHeads, bool causal)
    {
        var graph = new OnnxGraph("attention");
        var q = graph.Input("q", OnnxType.Float, "N", heads, "T", Width);
        var k = graph.Input("k", OnnxType.Float, "N", keyHeads, "S", Width);
        var v = graph.Input("v", OnnxType.Float, "N", keyHeads, "S", Width);
        var lengths = graph.Input("lengths", OnnxType.Int64, "N");
        var y = graph.FunctionNode(BlockSparseNode.DenseFunction, BlockSparseNode.OpType, BlockSparseNode.Domain, BlockSparseNode.Version, [q, k, v, lengths],
            OnnxAttribute.Of("causal", causal ? 1 : 0), OnnxAttribute.Of("scale", (float)(1 / Math.Sqrt(Width))),
            OnnxAttribute.Of("block_q", policy.QueryBlock), OnnxAttribute.Of("block_k", policy.KeyBlock),
            OnnxAttribute.Of("density", (float)policy.Density), OnnxAttribute.Of("mass", (float)policy.Mass),
            OnnxAttribute.Of("sink", policy.SinkBlocks), OnnxAttribute.Of("window", policy.WindowBlocks), OnnxAttribute.Of("minimum", policy.MinimumBlocks),
            OnnxAttribute.Of("shared_budget", policy.SharedBudget ? 1 : 0), OnnxAttribute.Of("stride", policy.Stride), OnnxAttribute.Of("estimate", (long)policy.Estimate),
            OnnxAttribute.Of("power", double.IsInfinity(policy.Power) ? 0f : (float)policy.Power));
        graph.Output(graph.NodeTo("y", "Identity", [y]), OnnxType.Float, "N", heads, "T", Width);
        return graph.ToModel();
    }
}
