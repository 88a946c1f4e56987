using DeepSeek.Engine.Data;

namespace DeepSeek.Trainer;

/// <summary>Measures the net on a split, outside training, in float32 as it will be served.</summary>
internal interface IEvaluator
{
    /// <summary>loss and the task's metrics.</summary>
    /// <exception cref="BadInputException">The net's output for a row is no finite number: nothing can be measured, and nobody could use the net.</exception>
    SortedDictionary<string, double> Measure(ShardSet split);
}
