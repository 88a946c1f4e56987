using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Nn;

/// <summary>The operators of the model families: gradients against central differences in double precision.</summary>
public sealed class ModelOperatorTests
{
    private static readonly Dictionary<string, (long[][] Sizes, Func<Tensor[], Tensor> Value)> s_cases = new()
    {
        ["conv1d"] = ([[2, 2, 6], [4, 1, 3], [4]], x => Functional.Convolution(x[0], x[1], x[2], 2, 1, 1, groups: 2)),
        ["conv2d dilated"] = ([[1, 2, 5, 5], [2, 2, 2, 2]], x => Functional.Convolution(x[0], x[1], dilation: 2)),
        ["conv3d"] = ([[1, 2, 3, 3, 3], [2, 2, 2, 2, 2], [2]], x => Functional.Convolution(x[0], x[1], x[2])),
        ["conv transposed 1d"] = ([[1, 2, 4], [2, 3, 3], [3]], x => Functional.ConvolutionTransposed(x[0], x[1], x[2], 2, 1, 1)),
        ["conv transposed 2d"] = ([[1, 2, 3, 3], [2, 2, 2, 2], [2]], x => Functional.ConvolutionTransposed(x[0], x[1], x[2], 2)),
        ["conv transposed 3d"] = ([[1, 2, 2, 2, 2], [2, 1, 2, 2, 2]], x => Functional.ConvolutionTransposed(x[0], x[1], default, 2)),
        ["group norm"] = ([[2, 4, 3], [4], [4]], x => Functional.GroupNorm(x[0], 2, x[1], x[2], 1e-5)),
        ["rms norm"] = ([[3, 5], [5]], x => Functional.RmsNorm(x[0], x[1], 1e-5)),
        ["attention"] = ([[1, 2, 3, 4], [1, 2, 5, 4], [1, 2, 5, 4]], x => Functional.Attention(x[0], x[1], x[2])),
        ["attention masked"] = ([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]], x => Functional.Attention(x[0], x[1], x[2], Tensor.From<double>([0, -1e9, 0], 1, 1, 1, 3))),
        ["attention causal grouped"] = ([[1, 4, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]], x => Functional.Attention(x[0], x[1], x[2], causal: true)),
        ["lstm"] = ([[2, 3, 2], [12, 2], [12, 3], [12], [12]], x => Functional.Lstm(x[0], x[0].NewFull(0, 1, 2, 3), x.AsSpan(1), 1, 0, true, false)),
        ["max pool 3d"] = ([[1, 1, 4, 4, 4]], x => Functional.MaxPool(x[0], 2, 2)),
        ["avg pool 1d"] = ([[1, 2, 6]], x => Functional.AvgPool(x[0], 3, 2, 1)),
        ["adaptive 3d"] = ([[1, 2, 2, 2, 2]], x => Functional.AdaptiveAvgPool(x[0], 1)),
        ["upsample nearest"] = ([[1, 2, 2, 3]], x => Functional.UpsampleNearest(x[0], 2)),
        ["upsample linear"] = ([[1, 1, 2, 2, 2]], x => Functional.UpsampleLinear(x[0], 2)),
        ["upsample aligned"] = ([[1, 2, 3]], x => Functional.UpsampleLinear(x[0], 3, alignCorners: true)),
        ["gelu tanh"] = ([[7]], x => x[0].GeluTanh()),
        ["views"] = ([[2, 3, 4]], x => Tensor.Cat([-x[0].Permute(1, 0, 2), x[0].Unsqueeze(0).Squeeze(0).Mean(0, keep: true).Expand(3, 3, 4).Narrow(1, 0, 2).Triu()], 2)),
        ["rsqrt"] = ([[5]], x => (x[0] * x[0] + 1).Rsqrt()),
        ["dice"] = ([[2, 2, 3]], x => Losses.Dice(x[0], Labels(2, 2, 3))),
        ["focal"] = ([[2, 6]], x => Losses.Focal(x[0], Labels(2, 6), 1.5)),
        ["absolute"] = ([[6]], x => Losses.AbsoluteError(x[0], Labels(6) * 0.01)),
        ["smooth absolute"] = ([[6]], x => Losses.SmoothAbsoluteError(x[0], Labels(6), 0.4)),
        ["divergence"] = ([[2, 3]], x => Losses.KlDivergence(x[0].LogSoftmax(1), Labels(2, 3) * 0.3 + 0.1)),
        ["likelihood"] = ([[2, 3]], x => Losses.NegativeLogLikelihood(x[0].LogSoftmax(1), Tensor.From<long>([2, 0], 2))),
    };

    public static TheoryData<string> Cases => [.. s_cases.Keys];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_OfOperator_EqualsCentralDifferences(string name)
    {
        var (sizes, value) = s_cases[name];
        TensorHandle[] inputs = [.. sizes.Select((s, i) => Drawn(i + 1, s).WithGrad())];
        using (TensorScope.Open())
        {
            Sum(value, inputs).Backward();
            foreach (var input in inputs)
            {
                Check(name, input, () => Sum(value, inputs).Item());
            }
        }
        Array.ForEach(inputs, i => i.Dispose());
    }

    [Fact]
    public void StochasticDepth_WhileTraining_DropsWholeSamplesAndScalesTheOthers()
    {
        using var scope = TensorScope.Open();
        using var module = new StochasticDepth(0.25);
        EngineRuntime.Seed(3);

        var y = module.Forward(Tensor.From<float>([.. Enumerable.Repeat(3f, 4000)], 1000, 2, 2)).ToArray<float>();

        Assert.All(Enumerable.Range(0, 1000), n => Assert.Single(y.AsSpan(4 * n, 4).ToArray().Distinct()));
        Assert.All(y, v => Assert.True(v == 0 || Math.Abs(v - 4) < 1e-5));
        // Four standard deviations of the share dropped among 1000.
        Assert.InRange(Enumerable.Range(0, 1000).Count(n => y[4 * n] == 0), 195, 305);
    }

    [Fact]
    public void MultiHeadAttention_OfOneStep_IsItsValueProjection()
    {
        using var scope = TensorScope.Open();
        using var module = new MultiHeadAttention(4, 2);
        var x = Tensor.From<float>([1, -2, 3, 0.5f], 1, 1, 4);
        var state = module.State().ToDictionary(t => t.Name, t => t.Tensor.Tensor);

        var y = module.Forward(x);

        // A step that can only attend to itself gets its own value: W_o·(W_v·x + b_v) + b_o.
        var value = Functional.Linear(x, state["in_proj_weight"].Narrow(0, 8, 4), state["in_proj_bias"].Narrow(0, 8, 4));
        var expected = Functional.Linear(value, state["out_proj.weight"], state["out_proj.bias"]).ToArray<float>();
        Assert.All(expected.Zip(y.ToArray<float>()), p => Assert.Equal(p.First, p.Second, 1e-6));
    }

    private static void Check(string name, TensorHandle input, Func<double> value)
    {
        var analytic = input.Tensor.Grad().ToArray<double>();
        // The step balances the truncation error h² against rounding 1e-16/h.
        const double h = 1e-5;
        using var unrecorded = NoGrad.Enter();
        for (var i = 0; i < analytic.Length; i++)
        {
            using var inner = TensorScope.Open();
            var kept = input.Span<double>()[i];
            input.Span<double>()[i] = kept + h;
            var above = value();
            input.Span<double>()[i] = kept - h;
            var numeric = (above - value()) / (2 * h);
            input.Span<double>()[i] = kept;
            Assert.True(Math.Abs(numeric - analytic[i]) <= 1e-7 * Math.Max(1, Math.Abs(numeric)), $"{name}[{i}]: {analytic[i]} against {numeric}");
        }
    }

    /// <summary>A sum with unequal weights, so that errors cannot cancel out.</summary>
    private static Tensor Sum(Func<Tensor[], Tensor> value, TensorHandle[] inputs)
    {
        var flat = value([.. inputs.Select(i => i.Tensor)]).Reshape(-1);
        double[] weights = [.. Enumerable.Range(0, (int)flat.Elements).Select(i => Math.Cos(i) + 1.5)];
        return (flat * Tensor.From<double>(weights, weights.Length)).Sum();
    }

    private static Tensor Labels(params long[] sizes) =>
        Tensor.From<double>([.. Enumerable.Range(0, (int)sizes.Aggregate(1L, (a, b) => a * b)).Select(i => (double)(i * 5 % 3 % 2))], sizes);

    private static TensorHandle Drawn(int seed, long[] sizes)
    {
        // Without ties, where max pooling has no derivative, and away from zero.
        double[] values = [.. Enumerable.Range(0, (int)sizes.Aggregate(1L, (a, b) => a * b)).Select(i => Math.Sin(12.9898 * (i + 1) + 78.233 * seed)).Select(u => u + Math.Sign(u) * 0.1)];
        return TensorHandle.From<double>(values, sizes);
    }
}
