using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>The loss that is minimised: cross entropy of logits, or squared error of the standardised target.</summary>
internal sealed class Objective(TrainingPlan plan, TargetStatistics statistics) : IDisposable
{
    private readonly TensorHandle? _weights = statistics.ClassWeights is { } weights ? TensorHandle.From<float>(weights, weights.Length) : null;

    internal Tensor Loss(Tensor logits, Tensor target) => plan.Dataset.IsClassification
        ? Losses.CrossEntropy(logits, target, _weights?.Tensor ?? default, plan.Spec.LabelSmoothing)
        : Losses.MeanSquaredError(logits.Reshape(-1), (target - statistics.Mean) / statistics.Deviation); // [N]

    public void Dispose() => _weights?.Dispose();
}
