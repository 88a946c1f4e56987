using DeepSeek.Engine;
using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>Gates inside a net: what they are taught, and that what they then choose is what the net needs.</summary>
public sealed class GatedGptTests
{
    private const int Length = NeedleSequences.Length, Block = 8;
    private const int WarmUp = 160, Gated = 50;
    private const double Rate = 2e-3;

    // Of up to eight visible blocks at most three, of which the diagonal's is one.
    private static readonly SparsePolicy s_policy = new()
    {
        Density = 0.375, SinkBlocks = 0, WindowBlocks = 0, QueryBlock = Block, KeyBlock = Block, Stride = 4, Estimate = BlockEstimate.Sampled, Power = 2,
    };

    private static readonly GptConfig s_config = new() { Vocabulary = NeedleSequences.Vocabulary, Length = Length, Width = 64, Layers = 1, Heads = 2, Sparse = s_policy, GateWidth = 16 };

    [Fact]
    public void ChoiceLoss_Differentiated_TeachesTheGatesAloneAndTheModelsLossThemNothing()
    {
        using var net = new Gpt(s_config with { Layers = 2 });
        using var scope = TensorScope.Open();
        var (ids, targets, _) = NeedleSequences.Of(1, Block);

        var loss = net.Loss(ids, targets);
        net.ChoiceLoss().Backward();
        var taught = net.Parameters().Where(p => !p.Tensor.Tensor.Grad().IsNone).Select(p => p.Name).ToList();
        loss.Backward();

        string[] gates = ["h.0.attn.gate.query.weight", "h.0.attn.gate.key.weight", "h.1.attn.gate.query.weight", "h.1.attn.gate.key.weight"];
        Assert.Equal(gates, taught);
        Assert.All(net.Parameters(), p => Assert.False(p.Tensor.Tensor.Grad().IsNone, p.Name));
        Assert.Throws<ArgumentException>(() => new Gpt(s_config with { Sparse = null }));
        Assert.Contains("no loss of a gate", Assert.Throws<InvalidOperationException>(() => net.ChoiceLoss()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Forward_OnceTheGateChooses_AttendsToItsBlocks()
    {
        EngineRuntime.Seed(5);
        using var gate = new BlockGate(32, 16, s_policy);
        gate.Train(false);
        using var attention = new DynamicSparseAttention(s_policy, gate);
        using var scope = TensorScope.Open();
        var (q, k, v) = (Noised(1), Noised(2), Noised(3));
        var byGate = SparseAttention.Select(gate.Shares(q, k, causal: true), Length, Length, s_policy, causal: true);
        var byEstimate = SparseAttention.Select(SparseAttention.BlockScores(q, k, s_policy, causal: true), Length, Length, s_policy, causal: true);
        Assert.NotEqual(byGate.Index.ToArray<int>(), byEstimate.Index.ToArray<int>());
        float[] Of(BlockSelection selection) => SparseAttention.WithBlocks(q, k, v, selection, Block, Block, causal: true).Output.ToArray<float>();

        var gated = attention.Forward(q, k, v, causal: true).ToArray<float>();
        attention.GateChooses = false;
        var estimated = attention.Forward(q, k, v, causal: true).ToArray<float>();

        Assert.Equal(Of(byGate), gated);
        Assert.Equal(Of(byEstimate), estimated);
        Assert.Throws<NotSupportedException>(() => attention.Forward(q, k, v, causal: true, Tensor.From<int>([5], 1)));
    }

    [Fact]
    public void WarmUpThenGate_FindsTheNeedlesBlockAndKeepsTheLoss()
    {
        EngineRuntime.Seed(11);
        var threads = EngineRuntime.Threads;
        EngineRuntime.Threads = 1; // small products: threads would wait for each other most of the time
        using var net = new Gpt(s_config);
        using var optimizer = new AdamW(net, weightDecay: 0);
        var layer = net.SparseLayers[0];
        var losses = new List<double>();
        for (var step = 0; step < WarmUp + Gated; step++)
        {
            layer.GateChooses = step >= WarmUp;
            using var scope = TensorScope.Open();
            var (ids, targets, _) = NeedleSequences.Of(step, Block);
            optimizer.ClearGradients();
            var loss = net.Loss(ids, targets);
            var choice = net.ChoiceLoss();
            (loss + choice).Backward(); // they teach different weights
            optimizer.Step(Rate);
            losses.Add(choice.Item());
        }
        var (estimated, gated) = (Measure(net, gateChooses: false), Measure(net, gateChooses: true));
        foreach (var (_, weight) in layer.Gate!.Parameters())
        {
            weight.Span<float>().Clear();
        }
        var blind = Measure(net, gateChooses: true);
        EngineRuntime.Threads = threads;
        var told = $"loss by the estimate {estimated:f4}, by the gate {gated:f4}, by one that knows nothing {blind:f4}; gate's loss {losses[0]:f3} → {losses[^1]:f3}";
        TestContext.Current.TestOutputHelper?.WriteLine(told);
        Assert.True(estimated < 0.4, told);
        Assert.True(gated <= estimated + 0.05, told);
        Assert.True(blind > gated + 0.3, told);
        Assert.True(losses[^1] < losses[0], told);
    }

    [Theory]
    [MemberData(nameof(Engine.Tests.Gpu.Devices), MemberType = typeof(Engine.Tests.Gpu))]
    public void CapturedStep_OfAGatedNet_GivesTheEagerStepsLosses(string place)
    {
        var (eager, captured) = (Steps(Device.Parse(place), captured: false), Steps(Device.Parse(place), captured: true));

        // The same kernels in the same order; only the addresses differ.
        Assert.All(eager.Zip(captured), pair => Assert.Equal(pair.First, pair.Second, 1e-6));
        Assert.True(eager[^1] < eager[0]);
    }

    private static double[] Steps(Device device, bool captured)
    {
        const int steps = 8;
        EngineRuntime.Seed(13);
        using var net = new Gpt(s_config);
        net.To(device);
        net.ToPrecision(Dtype.BFloat16);
        using var optimizer = new AdamW(net, weightDecay: 0);
        optimizer.LearningRate = Rate;
        Tensor Step(ReadOnlySpan<Tensor> inputs)
        {
            var loss = net.Loss(inputs[0], inputs[1]).To(Dtype.Float32) + net.ChoiceLoss();
            loss.Backward();
            optimizer.Step();
            optimizer.ClearGradients();
            return loss;
        }
        using var capture = captured ? new Capture(device, Step) : null;
        var losses = new double[steps];
        for (var step = 0; step < steps; step++)
        {
            using var scope = TensorScope.Open();
            var (ids, targets, _) = NeedleSequences.Of(step, Block);
            var (x, y) = (ids.To(device), targets.To(device));
            losses[step] = (capture is null ? Step([x, y]) : capture.Run(x, y)).Item();
        }
        return losses;
    }

    // Mean loss over sequences that training has not seen.
    private static double Measure(Gpt net, bool gateChooses)
    {
        const int batches = 4;
        net.SparseLayers[0].GateChooses = gateChooses;
        net.Train(false);
        var loss = 0.0;
        for (var i = 0; i < batches; i++)
        {
            using var scope = TensorScope.Open();
            var (ids, targets, _) = NeedleSequences.Of(100_000 + i, Block);
            loss += net.Loss(ids, targets).Item() / batches;
        }
        net.Train();
        return loss;
    }

    private static Tensor Noised(int seed)
    {
        var random = new Random(seed);
        return Tensor.From<float>([.. Enumerable.Range(0, 2 * Length * 32).Select(_ => random.NextSingle() * 4 - 2)], 1, 2, Length, 32);
    }
}
