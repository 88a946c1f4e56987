using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Optim;

/// <summary>Optimisers against the same formulae in plain double-precision C#.</summary>
public sealed class OptimizerTests
{
    private const int Steps = 25;
    private const double Rate = 0.05;
    private static readonly double[] s_target = [1, -2, 0.5, 3, -1, 2];

    // A float32 run of 25 steps against double precision: 25 roundings of 6e-8 on values up to 3, with slack for their growth.
    private const double FloatTolerance = 2e-5;

    // The operators' path in float64 differs from the reference only by the order of a few operations.
    private const double DoubleTolerance = 1e-12;

    [Theory]
    [InlineData(Dtype.Float32)]
    [InlineData(Dtype.Float64)]
    public void AdamW_ManySteps_FollowsReference(Dtype dtype)
    {
        var (weights, biases) = Run(dtype, net => new AdamW(net, weightDecay: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 1e-6));

        Assert.Equal(ReferenceAdamW(0.1), weights, Within(dtype));
        Assert.Equal(ReferenceAdamW(0), biases, Within(dtype));
    }

    [Theory]
    [InlineData(Dtype.Float32, 0, false)]
    [InlineData(Dtype.Float32, 0.9, false)]
    [InlineData(Dtype.Float32, 0.9, true)]
    [InlineData(Dtype.Float64, 0, false)]
    [InlineData(Dtype.Float64, 0.9, false)]
    [InlineData(Dtype.Float64, 0.9, true)]
    public void Sgd_ManySteps_FollowsReference(Dtype dtype, double momentum, bool nesterov)
    {
        var (weights, biases) = Run(dtype, net => new Sgd(net, weightDecay: 0.1, momentum, nesterov));

        Assert.Equal(ReferenceSgd(0.1, momentum, nesterov), weights, Within(dtype));
        Assert.Equal(ReferenceSgd(0, momentum, nesterov), biases, Within(dtype));
    }

    // The rule alone decides what decays, whatever the order of declaration.
    [Fact]
    public void Update_WithARuleOfDecay_DecaysWhatItNames()
    {
        var (weights, biases) = Run(Dtype.Float64, net => new AdamW(net, 0.1, 0.8, 0.95, 1e-6, p => p.Name == "bias"));
        Assert.Equal(ReferenceAdamW(0), weights, Within(Dtype.Float64));
        Assert.Equal(ReferenceAdamW(0.1), biases, Within(Dtype.Float64));

        (weights, biases) = Run(Dtype.Float64, net => new Sgd(net, 0.1, 0.9, false, DecayRule.All));
        Assert.Equal(ReferenceSgd(0.1, 0.9, false), weights, Within(Dtype.Float64));
        Assert.Equal(ReferenceSgd(0.1, 0.9, false), biases, Within(Dtype.Float64));
    }

    [Fact]
    public void MatricesBesidesTables_OfANetWithTablesNormsAndBiases_NamesTheMatrices()
    {
        using var net = new Sequential(new Embedding(7, 4), new LayerNorm(4), new Linear(4, 3));
        var rule = DecayRule.MatricesBesidesTables(net);

        Assert.Equal(["2.weight"], net.Parameters().Where(rule).Select(p => p.Name));
        Assert.Equal(["0.weight", "2.weight"], net.Parameters().Where(DecayRule.Matrices).Select(p => p.Name));
    }

    [Theory]
    [InlineData(Dtype.Float32)]
    [InlineData(Dtype.Float64)]
    public void ClipGradients_AboveLimit_ScalesToLimitAndReportsNorm(Dtype dtype)
    {
        using var net = new Quadratic(dtype);
        using var optimizer = new Sgd(net);
        using var scope = TensorScope.Open();
        net.Loss().Backward();
        // Gradient of ½|w - target|² from zero is -target, twice (weights and biases).
        var norm = Math.Sqrt(2 * s_target.Sum(t => t * t));

        Assert.Equal(norm, optimizer.ClipGradients(1.5), 1e-6);
        Assert.Equal(1.5, optimizer.ClipGradients(0), 1e-5);
        optimizer.ScaleGradients(2);
        Assert.Equal(3, optimizer.ClipGradients(5), 1e-5);
        Assert.Equal(3, optimizer.ClipGradients(0), 1e-5);
    }

    [Fact]
    public void Step_ParameterWithoutGradient_IsPassedOver()
    {
        using var net = new Quadratic(Dtype.Float32);
        using var optimizer = new AdamW(net);

        optimizer.Step(Rate);

        Assert.All(net.Weights(), w => Assert.Equal(0, w));
    }

    private static (double[] Weights, double[] Biases) Run(Dtype dtype, Func<Module, Optimizer> create)
    {
        using var net = new Quadratic(dtype);
        using var optimizer = create(net);
        for (var i = 0; i < Steps; i++)
        {
            using var scope = TensorScope.Open();
            net.Loss().Backward();
            optimizer.Step(Rate);
            optimizer.ClearGradients();
        }
        return (net.Weights(), net.Biases());
    }

    private static double[] ReferenceAdamW(double decay)
    {
        var w = new double[s_target.Length];
        var m = new double[w.Length];
        var v = new double[w.Length];
        for (var step = 1; step <= Steps; step++)
        {
            for (var i = 0; i < w.Length; i++)
            {
                var g = w[i] - s_target[i];
                w[i] *= 1 - Rate * decay;
                m[i] = 0.8 * m[i] + 0.2 * g;
                v[i] = 0.95 * v[i] + 0.05 * g * g;
                w[i] -= Rate / (1 - Math.Pow(0.8, step)) * m[i] / (Math.Sqrt(v[i]) / Math.Sqrt(1 - Math.Pow(0.95, step)) + 1e-6);
            }
        }
        return w;
    }

    private static double[] ReferenceSgd(double decay, double momentum, bool nesterov)
    {
        var w = new double[s_target.Length];
        var b = new double[w.Length];
        for (var step = 1; step <= Steps; step++)
        {
            for (var i = 0; i < w.Length; i++)
            {
                var g = w[i] - s_target[i] + decay * w[i];
                b[i] = step == 1 ? g : momentum * b[i] + g;
                w[i] -= Rate * (momentum == 0 ? g : nesterov ? g + momentum * b[i] : b[i]);
            }
        }
        return w;
    }

    private static Comparer Within(Dtype dtype) => new(dtype == Dtype.Float32 ? FloatTolerance : DoubleTolerance);

    private sealed class Comparer(double tolerance) : IEqualityComparer<double>
    {
        public bool Equals(double x, double y) => Math.Abs(x - y) <= tolerance;

        public int GetHashCode(double value) => 0;
    }

    /// <summary>½|w - target|² + ½|b - target|²: a matrix that decays and a vector that does not.</summary>
    private sealed class Quadratic : Module
    {
        private readonly Dtype _dtype;
        private readonly TensorHandle _weight;
        private readonly TensorHandle _bias;

        internal Quadratic(Dtype dtype)
        {
            _dtype = dtype;
            _weight = Parameter("weight", TensorHandle.Zeros(dtype, 2, 3));
            _bias = Parameter("bias", TensorHandle.Zeros(dtype, 6));
        }

        internal Tensor Loss()
        {
            var target = Tensor.From<double>(s_target, 6).To(_dtype);
            return ((_weight.Tensor.Reshape(6) - target).Pow(2).Sum() + (_bias.Tensor - target).Pow(2).Sum()) * 0.5;
        }

        internal double[] Weights() => Values(_weight);

        internal double[] Biases() => Values(_bias);

        protected override Tensor Compute(Tensor x) => x;

        private double[] Values(TensorHandle tensor) => _dtype == Dtype.Float32 ? [.. tensor.Span<float>().ToArray().Select(v => (double)v)] : tensor.Span<double>().ToArray();
    }
}
