using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>The loss that is minimised: cross entropy of logits, or squared error of the standardised target.</summary>
internal sealed class Objective : IDisposable
{
    private readonly TrainingPlan _plan;
    private readonly TargetStatistics _statistics;
    private readonly TensorHandle? _weights;

    internal Objective(TrainingPlan plan, TargetStatistics statistics, Device device)
    {
        (_plan, _statistics) = (plan, statistics);
        _weights = statistics.ClassWeights is { } weights ? TensorHandle.From<float>(weights, weights.Length) : null;
        _weights?.MoveTo(device);
    }

    internal Tensor Loss(Tensor logits, Tensor target) => _plan.Dataset.IsClassification
        ? Losses.CrossEntropy(logits, target, _weights?.Tensor ?? default, _plan.Spec.LabelSmoothing)
        : Losses.MeanSquaredError(logits.Reshape(-1), (target - _statistics.Mean) / _statistics.Deviation); // [N]

    public void Dispose() => _weights?.Dispose();
}
