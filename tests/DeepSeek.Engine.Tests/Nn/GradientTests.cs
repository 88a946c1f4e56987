using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Nn;

/// <summary>Gradients against central differences, in double precision.</summary>
public sealed class GradientTests
{
    public static TheoryData<string> Cases =>
    [
        "matmul", "linear", "relu", "gelu", "silu", "tanh", "sigmoid", "softmax", "logsoftmax", "layernorm", "batchnorm", "conv", "maxpool",
        "avgpool", "adaptive", "embedding", "crossentropy", "crossentropy smooth weighted", "bce", "mse", "huber", "exp log sqrt pow", "broadcast",
    ];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_OfOperator_EqualsCentralDifferences(string name)
    {
        using var x = Random(1, name is "conv" or "maxpool" or "avgpool" or "adaptive" ? [2, 2, 4, 4] : [4, 6]).WithGrad();
        using var w = Random(2, name switch { "conv" => [3, 2, 3, 3], "matmul" => [6, 3], "linear" => [3, 6], "embedding" => [5, 3], _ => [6] }).WithGrad();
        using (TensorScope.Open())
        {
            Value(name, x.Tensor, w.Tensor).Backward();
            Assert.All(new[] { x, w }, parameter => Check(name, parameter, x, w));
        }
    }

    private static void Check(string name, TensorHandle parameter, TensorHandle x, TensorHandle w)
    {
        using var scope = TensorScope.Open();
        var gradient = parameter.Tensor.Grad();
        if (gradient.IsNone)
        {
            return;
        }
        var analytic = gradient.ToArray<double>();
        // The step balances the truncation error h² against rounding 1e-16/h.
        const double h = 1e-5;
        using var unrecorded = NoGrad.Enter();
        for (var i = 0; i < analytic.Length; i++)
        {
            using var inner = TensorScope.Open();
            var kept = parameter.Span<double>()[i];
            parameter.Span<double>()[i] = kept + h;
            var above = Value(name, x.Tensor, w.Tensor).Item();
            parameter.Span<double>()[i] = kept - h;
            var below = Value(name, x.Tensor, w.Tensor).Item();
            parameter.Span<double>()[i] = kept;
            var numeric = (above - below) / (2 * h);
            Assert.True(Math.Abs(numeric - analytic[i]) <= 1e-7 * Math.Max(1, Math.Abs(numeric)), $"{name}[{i}]: {analytic[i]} against {numeric}");
        }
    }

    private static Tensor Value(string name, Tensor x, Tensor w) => name switch
    {
        "matmul" => Weighted(x.MatMul(w)),
        "linear" => Weighted(Functional.Linear(x, w)),
        "relu" => Weighted((x * w).Relu()),
        "gelu" => Weighted((x * w).Gelu()),
        "silu" => Weighted((x * w).Silu()),
        "tanh" => Weighted((x * w).Tanh()),
        "sigmoid" => Weighted((x * w).Sigmoid()),
        "softmax" => Weighted((x * w).Softmax(1)),
        "logsoftmax" => Weighted((x * w).LogSoftmax(1)),
        "layernorm" => Weighted(Functional.LayerNorm(x, 6, w, default, 1e-5)),
        "batchnorm" => Weighted(Functional.BatchNorm(x, w, default, default, default, true, 0.1, 1e-5)),
        "conv" => Weighted(Functional.Convolution(x, w, default, stride: 2, padding: 1)),
        "maxpool" => Weighted(Functional.MaxPool(x, 2, 2)),
        "avgpool" => Weighted(Functional.AvgPool(x, 3, 1, 1)),
        "adaptive" => Weighted(Functional.AdaptiveAvgPool(x, 1)),
        "embedding" => Weighted(Functional.Embedding(w, Tensor.From<long>([0, 3, 3, 4], 4))),
        "crossentropy" => Losses.CrossEntropy(x * w, Tensor.From<long>([0, 5, 2, 2], 4)),
        "crossentropy smooth weighted" => Losses.CrossEntropy(x * w, Tensor.From<long>([0, 5, 2, 2], 4), Tensor.From<double>([1, 2, 0.5, 1, 1, 3], 6), 0.1),
        "bce" => Losses.BinaryCrossEntropyWithLogits(x * w, (x * 0).Detach() + 0.3),
        "mse" => Losses.MeanSquaredError(x * w, (x * 0).Detach() + 0.3),
        "huber" => Losses.Huber(x * w * 3, (x * 0).Detach() + 0.3, 0.7),
        "exp log sqrt pow" => Weighted(((x * w).Exp() + 1).Log() + ((x * x) + 1).Sqrt() + (w.Abs() + 0.5).Pow(1.5)),
        "broadcast" => Weighted((x - w) / (w * w + 1)),
        _ => throw new ArgumentException(name),
    };

    /// <summary>A sum with unequal weights, so that errors cannot cancel out.</summary>
    private static Tensor Weighted(Tensor value)
    {
        var flat = value.Reshape(-1);
        var count = flat.Elements;
        var weights = new double[count];
        for (var i = 0; i < count; i++)
        {
            weights[i] = Math.Cos(i) + 1.5;
        }
        return (flat * Tensor.From<double>(weights, count)).Sum();
    }

    private static TensorHandle Random(int seed, long[] sizes)
    {
        // Away from zero, where relu and abs have no derivative, and without ties, where max pooling has none.
        var count = sizes.Aggregate(1L, (a, b) => a * b);
        var values = new double[count];
        for (var i = 0; i < count; i++)
        {
            var u = Math.Sin(12.9898 * (i + 1) + 78.233 * seed);
            values[i] = u + Math.Sign(u) * 0.1;
        }
        return TensorHandle.From<double>(values, sizes);
    }
}
