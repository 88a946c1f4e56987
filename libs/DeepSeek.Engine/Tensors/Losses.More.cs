namespace DeepSeek.Engine.Tensors;

public static partial class Losses
{
    /// <summary>Absolute error.</summary>
    public static Tensor AbsoluteError(Tensor prediction, Tensor target, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.L1).Add(prediction).Add(target).Add((long)reduction).One();

    /// <summary>Squared error over 2β up to β, absolute error less β/2 beyond (Girshick, arXiv 1504.08083, eq. 3).</summary>
    public static Tensor SmoothAbsoluteError(Tensor prediction, Tensor target, double beta = 1, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.SmoothL1).Add(prediction).Add(target).Add((long)reduction).Add(beta).One();

    /// <summary>Kullback-Leibler divergence of log-probabilities from target probabilities, element-wise before the reduction.</summary>
    public static Tensor KlDivergence(Tensor logPrediction, Tensor target, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.KlDivergence).Add(logPrediction).Add(target).Add((long)reduction).Add(false).One();

    /// <summary>Negative log-likelihood of class indices under log-probabilities [N, K, ..].</summary>
    public static Tensor NegativeLogLikelihood(Tensor logProbabilities, Tensor target, Tensor classWeights = default, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.NegativeLogLikelihood).Add(logProbabilities).Add(target).Add(classWeights).Add((long)reduction).One();

    /// <summary>
    /// 1 - (2·Σpy + s)/(Σp + Σy + s), the mean over samples and classes, sums over places (Milletari et al., arXiv 1606.04797, with
    /// plain instead of squared sums): logits and target [N, K, ..], p = σ(logits).
    /// </summary>
    public static Tensor Dice(Tensor logits, Tensor target, double smoothing = 1)
    {
        using var scope = TensorScope.Open();
        var (p, y) = (logits.Sigmoid().Flatten(2), target.Flatten(2)); // [N, K, places]
        var overlap = (p * y).Sum(2) * 2 + smoothing;
        var total = p.Sum(2) + y.Sum(2) + smoothing;
        return scope.Return((overlap / total).Mean() * -1 + 1);
    }

    /// <summary>-(1-p)^γ·log p of the true class, the mean over elements, for logits and targets 0 or 1 (Lin et al., arXiv 1708.02002, eq. 4).</summary>
    public static Tensor Focal(Tensor logits, Tensor target, double gamma = 2)
    {
        using var scope = TensorScope.Open();
        var loss = BinaryCrossEntropyWithLogits(logits, target, reduction: Reduction.None); // -log p of the true class
        return scope.Return((((loss * -1).Exp() * -1 + 1).Pow(gamma) * loss).Mean());
    }
}
