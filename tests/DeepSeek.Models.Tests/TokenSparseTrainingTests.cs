using DeepSeek.Engine;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>An indexer inside a net that learns the needle task: it must find the needle, and keep the dense net's loss.</summary>
public sealed class TokenSparseTrainingTests
{
    private const int Tokens = 6;
    private const int WarmUp = 160, Sparse = 50;
    private const double Rate = 2e-3;

    private static readonly GptConfig s_config = new() { Vocabulary = NeedleSequences.Vocabulary, Length = NeedleSequences.Length, Width = 64, Layers = 1, Heads = 2 };

    [Fact]
    public void WarmUpThenSparseStage_FindsTheNeedleAndKeepsTheDenseLoss()
    {
        EngineRuntime.Seed(11);
        var threads = EngineRuntime.Threads;
        EngineRuntime.Threads = 1; // small products: threads would wait for each other most of the time
        // Two heads of 32: 128 dimensions, an indexer of 8.
        using var net = new Gpt(s_config with { TokenSparse = new() { Tokens = Tokens, IndexerHeads = 1, IndexerDim = 8 } });
        using var optimizer = new AdamW(net, weightDecay: 0);
        var layer = net.TokenSparseLayers[0];
        var losses = new List<double>();
        Measured warm = default;
        for (var step = 0; step < WarmUp + Sparse; step++)
        {
            if (step == WarmUp)
            {
                warm = Measure(net, IndexerStage.WarmUp);
            }
            layer.Stage = step < WarmUp ? IndexerStage.WarmUp : IndexerStage.Sparse;
            using var scope = TensorScope.Open();
            var (ids, targets, _) = NeedleSequences.Of(step);
            optimizer.ClearGradients();
            var loss = net.Loss(ids, targets);
            var indexer = net.ChoiceLoss();
            (loss + indexer).Backward(); // they teach different weights
            optimizer.Step(Rate);
            losses.Add(indexer.Item());
        }
        var (dense, sparse) = (Measure(net, IndexerStage.WarmUp), Measure(net, IndexerStage.Sparse));
        EngineRuntime.Threads = threads;
        var highest = losses.Max();
        var told = $"dense loss after the warm-up {warm.Loss:f4}; at the end dense {dense.Loss:f4}, sparse {sparse.Loss:f4}; recall after the warm-up {warm.Recall:f4}, at the end {sparse.Recall:f4}, at density {sparse.Density:f3}; indexer loss at most {highest:f3}, before the sparse stage {losses[WarmUp - 1]:f3}";
        TestContext.Current.TestOutputHelper?.WriteLine(told);
        Assert.True(warm.Loss < 0.15, told);
        Assert.True(sparse.Loss <= Math.Min(warm.Loss, dense.Loss) + 0.05, told);
        Assert.True(warm.Recall >= 0.95 && sparse.Recall >= 0.98, told); // by chance 6 of 7 to 64 tokens, 0.24 on average
        Assert.True(losses[WarmUp - 1] < 0.5 * highest, told);
    }

    private readonly record struct Measured(double Loss, double Recall, double Density);

    // Means over sequences that training has not seen.
    private static Measured Measure(Gpt net, IndexerStage stage)
    {
        const int batches = 4;
        var layer = net.TokenSparseLayers[0];
        (layer.Stage, layer.Reports) = (stage, true);
        net.Train(false);
        double loss = 0, recall = 0, density = 0;
        for (var i = 0; i < batches; i++)
        {
            using var scope = TensorScope.Open();
            var (ids, targets, needles) = NeedleSequences.Of(100_000 + i);
            loss += net.Loss(ids, targets).Item() / batches;
            recall += Recall(layer, needles) / batches;
            density += layer.Density()!.Value / batches;
        }
        net.Train();
        layer.Reports = false;
        return new(loss, recall, density);
    }

    // Share of the lists behind the needle that name it, of those that cannot name every token.
    private static double Recall(TokenSparseAttention layer, int[] needles)
    {
        var (index, count) = (layer.Chosen!.Value.Index.ToArray<int>(), layer.Chosen!.Value.Count.ToArray<int>());
        var (found, asked) = (0, 0);
        for (var row = 0; row < NeedleSequences.Batch * NeedleSequences.Length; row++)
        {
            var (needle, t) = (needles[row / NeedleSequences.Length], row % NeedleSequences.Length);
            if (t > needle && t >= Tokens)
            {
                asked++;
                found += index.AsSpan(row * Tokens, count[row]).Contains(needle) ? 1 : 0;
            }
        }
        return (double)found / asked;
    }
}
