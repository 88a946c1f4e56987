namespace DeepSeek.Engine.Tensors;

/// <summary>How a loss of many elements becomes one number; numbered as libtorch numbers it.</summary>
public enum Reduction
{
    /// <summary>Not at all.</summary>
    None = 0,
    /// <summary>By its mean (a weighted mean where classes have weights).</summary>
    Mean = 1,
    /// <summary>By its sum.</summary>
    Sum = 2,
}

/// <summary>Loss functions.</summary>
public static partial class Losses
{
    /// <summary>Cross entropy of logits [N, K] against class indices [N] (int64), with optional class weights [K].</summary>
    public static Tensor CrossEntropy(Tensor logits, Tensor target, Tensor classWeights = default, double labelSmoothing = 0, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.CrossEntropy).Add(logits).Add(target).Add(classWeights).Add((long)reduction).Default().Add(labelSmoothing).One();

    /// <summary>Binary cross entropy of logits against probabilities of the same shape; optional weight of positives.</summary>
    public static Tensor BinaryCrossEntropyWithLogits(Tensor logits, Tensor target, Tensor positiveWeight = default, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.BceWithLogits).Add(logits).Add(target).None().Add(positiveWeight).Add((long)reduction).One();

    /// <summary>Squared error.</summary>
    public static Tensor MeanSquaredError(Tensor prediction, Tensor target, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.Mse).Add(prediction).Add(target).Add((long)reduction).One();

    /// <summary>Squared error up to <paramref name="delta"/>, linear beyond.</summary>
    public static Tensor Huber(Tensor prediction, Tensor target, double delta = 1, Reduction reduction = Reduction.Mean) =>
        OperatorCall.To(Operators.Huber).Add(prediction).Add(target).Add((long)reduction).Add(delta).One();
}
