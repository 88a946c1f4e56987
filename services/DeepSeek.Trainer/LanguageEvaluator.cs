using System.Globalization;
using DeepSeek.Data;
using DeepSeek.Engine.Data;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Trainer;

/// <summary>
/// Measures a language model on every token of a split: loss in nats a token, its exponential, bits for each byte of text, share of
/// tokens foreseen, and what a sparse attention kept of what it could have seen, layer by layer.
/// </summary>
internal sealed class LanguageEvaluator(Gpt net, PipelineTransform transform) : IEvaluator
{
    /// <summary>In one forward pass: all their logits exist together.</summary>
    private const int BatchTokens = 8192;

    /// <inheritdoc/>
    public SortedDictionary<string, double> Measure(ShardSet split)
    {
        var length = (int)split.FeaturesPerRow;
        var density = new double[net.SparseLayers.Count + net.TokenSparseLayers.Count];
        double nats = 0;
        long right = 0, tokens = 0, bytes = 0;
        net.Train(false);
        Report(true);
        using (NoGrad.Enter())
        using (var loader = new BatchLoader(split, new BatchOptions { BatchSize = (int)Math.Min(Math.Max(1, BatchTokens / length), split.Rows) }))
        {
            while (true)
            {
                using var scope = TensorScope.Open();
                if (!loader.Next(out var batch))
                {
                    break;
                }
                var ids = transform.Apply(batch.Features);
                var targets = Objective.NextTokens(ids, transform.Target(batch.Target)).Reshape(-1);
                var logits = net.Forward(ids).Reshape(targets.Elements, net.Config.Vocabulary);
                nats += Losses.CrossEntropy(logits, targets, reduction: Reduction.Sum).Item();
                var (wanted, said) = (targets.ToArray<long>(), logits.Argmax(1).ToArray<long>());
                for (var i = 0; i < wanted.Length; i++)
                {
                    right += wanted[i] == said[i] ? 1 : 0;
                    bytes += wanted[i] == ByteTokens.Separator ? 0 : 1;
                }
                tokens += wanted.Length;
                for (var layer = 0; layer < density.Length; layer++)
                {
                    density[layer] += Density(layer) * batch.Rows;
                }
            }
        }
        Report(false);
        net.Train();
        if (!double.IsFinite(nats))
        {
            // The loss of a step is taken before its update, so the last update before a measurement is only seen here.
            throw new BadInputException("optimizer.learningRate", "The net's outputs left the range of numbers. Choose a lower learning rate, or a gradientClip.");
        }
        var metrics = new SortedDictionary<string, double>(StringComparer.Ordinal)
        {
            ["loss"] = nats / tokens,
            ["perplexity"] = Math.Exp(nats / tokens),
            ["accuracy"] = (double)right / tokens,
        };
        if (bytes > 0)
        {
            metrics["bitsPerByte"] = nats / bytes / Math.Log(2);
        }
        if (density.Length > 0)
        {
            metrics["density"] = density.Sum() / density.Length / split.Rows;
        }
        for (var layer = 0; layer < density.Length; layer++)
        {
            metrics[$"density.{layer.ToString(CultureInfo.InvariantCulture)}"] = density[layer] / split.Rows;
        }
        return metrics;
    }

    private double Density(int layer) => (net.SparseLayers.Count > 0 ? net.SparseLayers[layer].Density() : net.TokenSparseLayers[layer].Density())!.Value;

    private void Report(bool on)
    {
        foreach (var layer in net.SparseLayers)
        {
            layer.GateChooses = true;
            layer.Reports = on;
        }
        foreach (var layer in net.TokenSparseLayers)
        {
            layer.Stage = IndexerStage.Sparse;
            layer.Reports = on;
        }
    }
}
