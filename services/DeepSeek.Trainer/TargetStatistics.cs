using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Data;

namespace DeepSeek.Trainer;

/// <summary>What the train split's targets say: weights of classes, or the mean and deviation of numbers.</summary>
internal sealed record TargetStatistics(float[]? ClassWeights, double Mean, double Deviation)
{
    internal static TargetStatistics Of(ShardSet train, RunSpec spec, IReadOnlyList<string> classes) =>
        train.Classes > 0 ? new TargetStatistics(Weights(train, spec, classes), 0, 1) : Numbers(train);

    private static float[]? Weights(ShardSet train, RunSpec spec, IReadOnlyList<string> classes)
    {
        if (spec.ClassWeights.Values is { } given)
        {
            return [.. classes.Select(c => (float)given.GetValueOrDefault(c, 1))];
        }
        if (!spec.ClassWeights.IsBalanced)
        {
            return null;
        }
        var counts = new long[train.Classes];
        foreach (var block in Enumerable.Range(0, train.Shards.Count).SelectMany(train.Read))
        {
            foreach (var target in block.Target.As<long>())
            {
                counts[target]++;
            }
        }
        // A class without rows takes no part in the loss, so its weight is free.
        return [.. counts.Select(c => c == 0 ? 1f : (float)((double)train.Rows / (train.Classes * (double)c)))];
    }

    // Welford's running mean and variance, in double precision.
    private static TargetStatistics Numbers(ShardSet train)
    {
        double mean = 0, squares = 0;
        long count = 0;
        foreach (var block in Enumerable.Range(0, train.Shards.Count).SelectMany(train.Read))
        {
            foreach (var target in block.Target.As<float>())
            {
                var delta = target - mean;
                mean += delta / ++count;
                squares += delta * (target - mean);
            }
        }
        var deviation = Math.Sqrt(squares / count);
        return new TargetStatistics(null, mean, deviation > 0 ? deviation : 1);
    }
}
