using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class BlockGateTests
{
    private const int Heads = 4, KvHeads = 2, Rows = 120, Dim = 16;
    private static readonly SparsePolicy s_policy = new() { Density = 0.4, SinkBlocks = 0, WindowBlocks = 0, QueryBlock = 16, KeyBlock = 16, Stride = 4 };

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Shares_OfRandomHeads_AreDistributionsOverVisibleBlocks(bool causal)
    {
        using var gate = new BlockGate(Dim, 8, s_policy);
        using var scope = TensorScope.Open();
        var (q, k) = Inputs(1, 0.3f);
        var shares = gate.Shares(q, k, causal);
        Assert.Equal([1, Heads, 8, 8], shares.Shape());
        var values = shares.Reshape(-1).ToArray<float>();
        for (var list = 0; list < Heads * 8; list++)
        {
            var row = values.AsSpan(list * 8, 8).ToArray();
            Assert.Equal(1f, row.Sum(), 1e-5f);
            Assert.All(row.Select((x, block) => (x, block)), e => Assert.Equal(!causal || e.block <= list % 8, e.x > 0));
        }
    }

    [Fact]
    public void Loss_WhenTrained_MakesTheGateChooseWhatTheAttentionUses()
    {
        Engine.EngineRuntime.Seed(3);
        using var gate = new BlockGate(Dim, 16, s_policy);
        using var optimizer = new AdamW(gate, weightDecay: 0);
        double before = 0, after = 0;
        for (var step = 0; step < 150; step++)
        {
            using var scope = TensorScope.Open();
            var (q, k) = Inputs(step, 1.2f);
            optimizer.ClearGradients();
            var loss = gate.Loss(q, k, causal: true);
            loss.Backward();
            optimizer.Step(2e-2);
            (before, after) = (step == 0 ? loss.Item() : before, loss.Item());
        }
        Assert.True(after < before, $"loss {before} → {after}");
        using var check = TensorScope.Open();
        var (tq, tk) = Inputs(1000, 1.2f);
        var truth = SparseAttention.BlockScores(tq, tk, s_policy, causal: true);
        var (best, learned, first) = (Held(truth, truth), Held(gate.Shares(tq, tk, causal: true), truth), Held(truth * 0, truth));
        // Of what the best choice of the same size holds beyond an arbitrary one, the gate holds most.
        Assert.True(learned - first > 0.7 * (best - first), $"attention held: best {best}, learned {learned}, arbitrary {first}");
    }

    // Mean share of the attention that a choice by these scores holds.
    private static double Held(Tensor scores, Tensor truth)
    {
        var (index, count) = SparseAttention.Select(scores, Rows, Rows, s_policy, causal: true);
        var (indices, counts, values) = (index.Reshape(-1).ToArray<int>(), count.Reshape(-1).ToArray<int>(), truth.Reshape(-1).ToArray<float>());
        var most = indices.Length / counts.Length;
        return counts.Select((n, list) => (double)Enumerable.Range(0, n).Sum(i => values[list * 8 + indices[list * most + i]])).Average();
    }

    // Blocks have directions of their own, so that attention between blocks has something to learn.
    private static (Tensor Q, Tensor K) Inputs(int seed, float strength)
    {
        var random = new Random(seed);
        float[] Make(int heads)
        {
            var x = new float[heads * Rows * Dim];
            var direction = new float[Dim];
            for (var i = 0; i < x.Length; i++)
            {
                if (i / Dim % Rows % 16 == 0)
                {
                    direction[i % Dim] = strength * (random.NextSingle() * 4 - 2);
                }
                x[i] = direction[i % Dim] + random.NextSingle() - 0.5f;
            }
            return x;
        }
        return (Tensor.From<float>(Make(Heads), 1, Heads, Rows, Dim), Tensor.From<float>(Make(KvHeads), 1, KvHeads, Rows, Dim));
    }
}
