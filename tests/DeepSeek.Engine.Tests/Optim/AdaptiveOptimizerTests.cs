using DeepSeek.Engine.Data;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Testing;
using FsCheck.Fluent;

namespace DeepSeek.Engine.Tests.Optim;

public sealed class AdaptiveOptimizerTests
{
    private static readonly AdaptiveOptions s_options = new() { InitialLearningRate = 0.02, WeightDecay = 0, Window = 8, Warmup = 8 };

    [Fact]
    public void Step_FewSteps_FollowsScheduleFreeReference()
    {
        // Schedule-free AdamW in double precision (arXiv 2405.15682, algorithm 1), a rate that does not move and no clipping in 12 steps.
        const double beta = 0.9, decay = 0.1, rate = 0.05;
        using var net = new Noisy(0);
        using var optimizer = new AdaptiveOptimizer(net, new AdaptiveOptions { InitialLearningRate = rate, WeightDecay = decay, Interpolation = beta, Warmup = 0, Growth = 1, AveragePower = 0 });
        Steps(net, optimizer, 12);

        var (z, x, v) = (new double[Noisy.Size], new double[Noisy.Size], new double[Noisy.Size]);
        for (var step = 1; step <= 12; step++)
        {
            for (var i = 0; i < z.Length; i++)
            {
                var y = (1 - beta) * z[i] + beta * x[i];
                var g = y - Noisy.Target(i);
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                z[i] -= rate * (g / (Math.Sqrt(v[i] / (1 - Math.Pow(0.999, step))) + 1e-8) + decay * y);
                x[i] += (z[i] - x[i]) / step;
            }
        }
        // Float32 over 12 steps; the moved distance is a difference of weights up to 1: some 1e-7 a step.
        Assert.All(Average(net, optimizer).Select((w, i) => Math.Abs(w - x[i])), off => Assert.InRange(off, 0, 5e-6));
    }

    [Fact]
    public void Step_NoisyConvexProblem_ComesCloserThanTheNoise()
    {
        using var net = new Noisy(0.5);
        using var optimizer = new AdaptiveOptimizer(net, s_options);

        Steps(net, optimizer, 1500);

        // The target is known. One gradient's noise is 0.5; the mean of n of them would leave 0.5/√n = 0.013 on each of the weights.
        Assert.All(Average(net, optimizer).Select((w, i) => Math.Abs(w - Noisy.Target(i))), off => Assert.InRange(off, 0, 0.08));
    }

    [Fact]
    public void Observe_Plateau_LowersTheRateAndSaysWhy()
    {
        using var net = new Noisy(0);
        using var optimizer = new AdaptiveOptimizer(net, s_options);
        var random = new SeededRandom(4);

        Steps(net, optimizer, 120, _ => 1 + random.Below(1000) / 1e4);

        var first = optimizer.Log[0];
        Assert.Equal((Adjusted.LearningRate, AdjustmentCause.Plateau, 0.02, 0.01), (first.What, first.Cause, first.From, first.To));
        Assert.Equal(32, first.Step); // four windows of eight
        Assert.Contains("no longer falls", first.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Observe_SteadyFall_RaisesTheRateToItsBound()
    {
        using var net = new Noisy(0);
        using var optimizer = new AdaptiveOptimizer(net, s_options);

        Steps(net, optimizer, 300, step => 100 - 0.2 * step);

        Assert.Equal(4 * 0.02, optimizer.Rate, 1e-12);
        Assert.All(optimizer.Log, e => Assert.Equal(AdjustmentCause.Falling, e.Cause));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(1e6)]
    public void Observe_Divergence_RestoresTheSafeWeightsAndLowersTheRate(double broken)
    {
        using var net = new Noisy(0.1);
        using var optimizer = new AdaptiveOptimizer(net, s_options);
        Steps(net, optimizer, 80);
        var safe = Average(net, optimizer);
        var rate = optimizer.Rate;

        Steps(net, optimizer, 1, _ => broken, from: 500);

        Assert.Equal(safe, Average(net, optimizer));
        Assert.Equal(safe, net.Weights());
        Assert.Equal(rate * 0.5, optimizer.Rate, 1e-12);
        Assert.Equal(AdjustmentCause.Divergence, optimizer.Log[^1].Cause);
        Steps(net, optimizer, 400, from: 600);
        Assert.All(Average(net, optimizer).Select((w, i) => Math.Abs(w - Noisy.Target(i))), off => Assert.InRange(off, 0, 0.1));
    }

    [Fact]
    public void Step_GradientNotANumber_RestoresTheSafeWeights()
    {
        using var net = new Noisy(0.1);
        using var optimizer = new AdaptiveOptimizer(net, s_options);
        Steps(net, optimizer, 80);
        var safe = Average(net, optimizer);

        using (var scope = TensorScope.Open())
        {
            (net.Loss(80) * double.NaN).Backward();
            optimizer.Observe(1);
            optimizer.Step();
            optimizer.ClearGradients();
        }

        Assert.Equal(safe, net.Weights());
        Assert.Equal(AdjustmentCause.BrokenGradient, optimizer.Log[^1].Cause);
    }

    [Fact]
    public void ObserveValidation_Overfitting_RaisesDecayAndDropout()
    {
        using var net = new Noisy(0);
        using var optimizer = new AdaptiveOptimizer(net, s_options with { WeightDecay = 0.02 });
        Steps(net, optimizer, 40);

        foreach (var loss in (double[])[20, 18, 19, 20])
        {
            optimizer.ObserveValidation(loss);
        }

        Assert.Equal(0.03, optimizer.WeightDecay, 1e-12);
        Assert.Equal(0.25, net.Drop.Probability, 1e-12);
        Assert.Equal([Adjusted.WeightDecay, Adjusted.Dropout], optimizer.Log.TakeLast(2).Select(e => e.What));
        Assert.All(optimizer.Log.TakeLast(2), e => Assert.Equal((AdjustmentCause.Overfitting, 2.0), (e.Cause, Math.Round(e.Evidence, 9))));
    }

    [Fact]
    public void ObserveValidation_NoGap_LowersDropout()
    {
        using var net = new Noisy(0);
        using var optimizer = new AdaptiveOptimizer(net, s_options);
        Steps(net, optimizer, 8, _ => 3);

        optimizer.ObserveValidation(1);

        Assert.Equal(0.15, net.Drop.Probability, 1e-12);
        Assert.Equal(AdjustmentCause.Underfitting, optimizer.Log[^1].Cause);
    }

    [Fact]
    public void ContinueAfter_RestoredState_GoesOnWithTheSameBits()
    {
        using var whole = new Noisy(0.3);
        using var first = new AdaptiveOptimizer(whole, s_options);
        Steps(whole, first, 137);
        first.ObserveValidation(9);
        using var half = new Noisy(0.3);
        using var second = new AdaptiveOptimizer(half, s_options);
        foreach (var (from, to) in whole.State().Zip(half.State()).Concat(first.State.Zip(second.State)))
        {
            from.Tensor.Bytes().CopyTo(to.Tensor.Bytes());
        }
        second.ContinueAfter(137);

        Steps(whole, first, 150, from: 137);
        Steps(half, second, 150, from: 137);

        Assert.Equal(whole.Weights(), half.Weights());
        Assert.Equal(Average(whole, first), Average(half, second));
        Assert.Equal(first.Log, second.Log);
        Assert.NotEmpty(first.Log);
        Assert.Equal(whole.Drop.Probability, half.Drop.Probability);
    }

    [Fact]
    public void UseAverage_Ended_LeavesTheTrainingWeightsAsTheyWere()
    {
        using var net = new Noisy(0.3);
        using var optimizer = new AdaptiveOptimizer(net, s_options);
        Steps(net, optimizer, 50);
        var before = net.Weights();

        var average = Average(net, optimizer);

        Assert.NotEqual(before, average);
        Assert.Equal(before, net.Weights());
    }

    [Fact]
    public void Observe_AnyLosses_KeepsRateDecayAndDropoutInBounds() =>
        Prop.ForAll(Gen.Choose(0, 1200).ListOf().ToArbitrary(), losses =>
        {
            using var net = new Noisy(0.1);
            using var optimizer = new AdaptiveOptimizer(net, s_options);
            var rate = optimizer.Rate;
            var step = 0;
            foreach (var loss in losses)
            {
                Steps(net, optimizer, 8, _ => loss == 1200 ? double.NaN : loss * 0.01, from: step);
                step += 8;
                optimizer.ObserveValidation(loss * 0.02);
            }
            // Every change of the rate is logged, goes by the factors set, and one entry begins where the one before ended.
            foreach (var e in optimizer.Log.Where(e => e.What == Adjusted.LearningRate))
            {
                var allowed = e.Cause == AdjustmentCause.Falling ? e.To <= e.From * 1.1 * (1 + 1e-12) && e.To > e.From : Math.Abs(e.To - 0.5 * e.From) <= 1e-12 * e.From;
                if (!allowed || e.From != rate)
                {
                    return false;
                }
                rate = e.To;
            }
            return rate == optimizer.Rate && rate is > 0 and <= 0.08 * (1 + 1e-12) && optimizer.WeightDecay is >= 0 and <= 0.1 && net.Drop.Probability is >= 0 and <= 0.5
                && net.Weights().All(float.IsFinite) && Average(net, optimizer).All(float.IsFinite);
        }).Holds(40);

    [Fact]
    public void Step_RateOfTheCaller_IsRefused()
    {
        using var net = new Noisy(0);
        using var optimizer = new AdaptiveOptimizer(net, s_options);

        Assert.Throws<InvalidOperationException>(() => optimizer.Step(0.5));
    }

    [Theory]
    [InlineData(0, 0.5, 1)]
    [InlineData(0.1, 1, 1)]
    [InlineData(0.1, 0.5, -1)]
    public void Options_OutOfRange_AreRefused(double rate, double decay, double threshold)
    {
        using var net = new Noisy(0);

        Assert.Throws<ArgumentOutOfRangeException>(() => new AdaptiveOptimizer(net, new AdaptiveOptions { InitialLearningRate = rate, DecayRate = decay, DynamicThreshold = threshold }));
    }

    private static void Steps(Noisy net, AdaptiveOptimizer optimizer, int steps, Func<int, double>? pretended = null, int from = 0)
    {
        for (var step = from; step < from + steps; step++)
        {
            using var scope = TensorScope.Open();
            var loss = net.Loss(step);
            loss.Backward();
            optimizer.Observe(pretended?.Invoke(step) ?? loss.Item());
            optimizer.Step();
            optimizer.ClearGradients();
        }
    }

    private static float[] Average(Noisy net, AdaptiveOptimizer optimizer)
    {
        using (optimizer.UseAverage())
        {
            return net.Weights();
        }
    }

    /// <summary>½|w − target − noise|², whose gradient is w − target − noise; a dropout layer stands beside.</summary>
    private sealed class Noisy : Module
    {
        internal const int Size = 6;
        private readonly double _noise;
        private readonly TensorHandle _weight;

        internal Noisy(double noise)
        {
            _noise = noise;
            _weight = Parameter("weight", TensorHandle.Zeros(Dtype.Float32, 2, 3));
            Drop = Child("drop", new Dropout(0.2));
        }

        internal Dropout Drop { get; }

        internal static double Target(int i) => (i - 2.5) / 2;

        internal Tensor Loss(int step)
        {
            var random = new SeededRandom(21, step);
            float[] to = [.. Enumerable.Range(0, Size).Select(i => (float)(Target(i) + _noise * Math.Sqrt(3) * (random.Below(200_001) - 100_000) / 1e5))];
            return (_weight.Tensor.Reshape(Size) - Tensor.From<float>(to, Size)).Pow(2).Sum() * 0.5;
        }

        internal float[] Weights() => _weight.Span<float>().ToArray();

        protected override Tensor Compute(Tensor x) => x;
    }
}
