using DeepSeek.Engine.Export;
using DeepSeek.Engine.Memory;

namespace DeepSeek.Engine.Tensors;

public static partial class Functional
{
    /// <summary>Half precision as float32 where the weights are that: autocast of libtorch 1 leaves norms on the CPU to mixed kernels that it lacks.</summary>
    private static Tensor Widened(Tensor x, Tensor weight) =>
        !LibtorchFeatures.MixedNorms && !weight.IsNone && weight.Dtype == Dtype.Float32 && x.Dtype is (Dtype.BFloat16 or Dtype.Float16) ? x.To(Dtype.Float32) : x;

    /// <summary>x / √(mean(x²) + ε) · weight over the last dimension (Zhang &amp; Sennrich, arXiv 1910.07467, eq. 4).</summary>
    public static Tensor RmsNorm(Tensor x, Tensor weight, double epsilon)
    {
        if (LibtorchFeatures.FusedRmsNorm && !OperatorTrace.Recording)
        {
            return OperatorCall.To(Operators.RmsNorm).Add(x).Add([x.Size(-1)]).Add(weight).Add(epsilon).One();
        }
        using var scope = TensorScope.Open();
        return scope.Return(x * ((x * x).Mean(-1, keep: true) + epsilon).Rsqrt() * weight);
    }

    /// <summary>Normalisation of each group of channels of each sample (Wu &amp; He, arXiv 1803.08494): [N, C, ..].</summary>
    public static Tensor GroupNorm(Tensor x, int groups, Tensor weight, Tensor bias, double epsilon)
    {
        x = Widened(x, weight);
        return OperatorCall.To(Operators.GroupNorm).Add(x).Add((long)groups).Add(weight).Add(bias).Add(epsilon).Add(true).One();
    }

    /// <summary>
    /// Long short-term memory (Hochreiter &amp; Schmidhuber, 1997, with forget gates): [N, T, in] → [N, T, hidden·directions], from zero states.
    /// </summary>
    /// <param name="weights">For each layer and direction: input and recurrent matrices [4·hidden, ..] and biases, gates i, f, g, o.</param>
    public static Tensor Lstm(Tensor x, Tensor initial, ReadOnlySpan<Tensor> weights, int layers, double dropout, bool training, bool bidirectional)
    {
        if (training && dropout > 0)
        {
            Checkpoint.RefuseRandom("An LSTM with dropout");
        }
        return OperatorCall.To(Operators.Lstm).Add(x).Add([initial, initial]).Add(weights).Add(true).Add((long)layers).Add(dropout).Add(training).Add(bidirectional).Add(true).Three().First;
    }
}
