using DeepSeek.Engine.Data;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>Measures a net that has one output a row: of tables and images.</summary>
internal sealed class Evaluator(TrainingPlan plan, Module net, PipelineTransform transform, Objective objective, TargetStatistics statistics) : IEvaluator
{
    private const int BatchRows = 512;

    /// <inheritdoc/>
    public SortedDictionary<string, double> Measure(ShardSet split)
    {
        var outputs = plan.Outputs;
        var logits = new float[split.Rows * outputs];
        var classes = new long[split.Classes > 0 ? split.Rows : 0];
        var numbers = new float[split.Classes > 0 ? 0 : split.Rows];
        var loss = 0.0;
        var row = 0;
        net.Train(false);
        using (NoGrad.Enter())
        using (var loader = new BatchLoader(split, new BatchOptions { BatchSize = (int)Math.Min(BatchRows, split.Rows) }))
        {
            while (true)
            {
                using var scope = TensorScope.Open();
                if (!loader.Next(out var batch))
                {
                    break;
                }
                var output = net.Forward(transform.Apply(batch.Features)); // [N, outputs]
                loss += objective.Measure(output, transform.Target(batch.Target)).Item() * batch.Rows;
                output.Read(logits.AsSpan(row * outputs, batch.Rows * outputs));
                if (split.Classes > 0)
                {
                    batch.Target.Read(classes.AsSpan(row, batch.Rows));
                }
                else
                {
                    batch.Target.Read(numbers.AsSpan(row, batch.Rows));
                }
                row += batch.Rows;
            }
        }
        net.Train();
        if (!double.IsFinite(loss) || !Array.TrueForAll(logits, float.IsFinite))
        {
            // The loss of a step is taken before its update, so the last update before a measurement is only seen here.
            throw new BadInputException("optimizer.learningRate", "The net's outputs left the range of numbers. Choose a lower learning rate, or a gradientClip.");
        }
        var metrics = split.Classes > 0
            ? SplitMetrics.Classification(logits, classes, outputs)
            : SplitMetrics.Regression([.. logits.Select(l => l * statistics.Deviation + statistics.Mean)], numbers);
        metrics["loss"] = loss / split.Rows;
        return metrics;
    }
}
