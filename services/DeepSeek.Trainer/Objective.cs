using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Trainer;

/// <summary>The loss that is minimised: cross entropy of logits (of every next token, for text), or squared error of the standardised target.</summary>
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

    /// <summary>The net's mean loss over a batch, its products in half precision where a type is given.</summary>
    internal Tensor Loss(Module net, Tensor features, Tensor target, DeviceType device, Dtype? half)
    {
        if (net is Gpt gpt)
        {
            return TokenLoss(gpt, features, target, device, half);
        }
        if (half is not { } dtype)
        {
            return Measure(net.Forward(features), target);
        }
        using var autocast = Autocast.Enter(device, dtype);
        return Measure(net.Forward(features).To(Dtype.Float32), target);
    }

    /// <summary>Of outputs that are there already; not for text.</summary>
    internal Tensor Measure(Tensor logits, Tensor target) => _plan.Dataset.IsClassification
        ? Losses.CrossEntropy(logits, target, _weights?.Tensor ?? default, _plan.Spec.LabelSmoothing)
        : Losses.MeanSquaredError(logits.Reshape(-1), (target - _statistics.Mean) / _statistics.Deviation); // [N]

    /// <summary>What each token of a row is to foresee: the rows [N, T] moved by one, with the stored target at their ends.</summary>
    internal static Tensor NextTokens(Tensor ids, Tensor target) => ids.Size(1) == 1
        ? target.Unsqueeze(1)
        : Tensor.Cat([ids.Narrow(1, 1, ids.Size(1) - 1), target.Unsqueeze(1)], 1); // [N, T]

    // The head's loss makes its gradients itself, in the precision it is given: outside autocast, which would cast inside of it. What chooses
    // learns from a loss of its own, whose gradient is added and whose value is not: the run reports that of the tokens.
    private static Tensor TokenLoss(Gpt gpt, Tensor ids, Tensor target, DeviceType device, Dtype? half)
    {
        var hidden = Hidden(gpt, ids, device, half).Reshape(-1, gpt.Config.Width);
        var loss = HeadLoss.Of(hidden, gpt.HeadWeight.Tensor.To(hidden.Dtype), NextTokens(ids, target).Reshape(-1)).To(Dtype.Float32);
        if (!gpt.LearnsToChoose || !gpt.Training)
        {
            return loss;
        }
        var choice = gpt.ChoiceLoss();
        return loss + (choice - choice.Detach());
    }

    private static Tensor Hidden(Gpt gpt, Tensor ids, DeviceType device, Dtype? half)
    {
        if (half is not { } dtype)
        {
            return gpt.Features(ids);
        }
        using var autocast = Autocast.Enter(device, dtype);
        return gpt.Features(ids).To(dtype);
    }

    public void Dispose() => _weights?.Dispose();
}
