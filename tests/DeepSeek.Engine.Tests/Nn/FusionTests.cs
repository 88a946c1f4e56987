using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Nn;

/// <summary>The fused operators that modules pick by themselves, against the plain ones that a hook makes them take.</summary>
public sealed class FusionTests
{
    private const int Rows = 37;
    private const int Width = 48;

    // float32: sums of 48 numbers in another order. bfloat16: its rounding step at 4, the largest values here.
    [Theory]
    [InlineData("layer", Dtype.Float32, 5e-6)]
    [InlineData("layer", Dtype.BFloat16, 0.032)]
    [InlineData("rms", Dtype.Float32, 5e-6)]
    [InlineData("rms", Dtype.BFloat16, 0.032)]
    public void AddForward_WithoutDropout_GivesThePlainValuesAndGradients(string kind, Dtype dtype, double tolerance)
    {
        var fused = Joined(kind, dtype, watched: false);
        var plain = Joined(kind, dtype, watched: true);

        Assert.All(fused.Zip(plain), pair => Assert.All(pair.First.Zip(pair.Second), v => Assert.Equal(v.Second, v.First, tolerance)));
    }

    [Theory]
    [InlineData("layer")]
    [InlineData("rms")]
    public void AddForward_WhileTraining_DropsItsShareAnewEachTimeAndBySeed(string kind)
    {
        const double p = 0.25;
        using var norm = Norm(kind, 1000);
        using var dropout = new Dropout(p);
        using var scope = TensorScope.Open();
        using var ones = TensorHandle.Filled(1, 64, 1000).WithGrad();
        using var zeros = TensorHandle.Filled(0, 64, 1000);

        EngineRuntime.Seed(3);
        var first = Add(norm, ones.Tensor, zeros.Tensor, dropout).Z;
        var second = Add(norm, ones.Tensor, zeros.Tensor, dropout).Z.ToArray<float>();
        EngineRuntime.Seed(3);
        var again = Add(norm, ones.Tensor, zeros.Tensor, dropout).Z.ToArray<float>();
        first.Sum().Backward();

        var values = first.ToArray<float>();
        Assert.All(values, v => Assert.True(v is 0 or (float)(1 / (1 - p)), $"{v}"));
        // 64 000 draws: four standard deviations of their mean are 0.007.
        Assert.Equal(p, values.Count(v => v == 0) / 64_000.0, 0.007);
        Assert.NotEqual(values, second);
        Assert.Equal(values, again);
        // The mask of the backward pass is that of the forward pass.
        Assert.Equal(values, ones.Tensor.Grad().ToArray<float>());

        dropout.Train(false);
        Assert.All(Add(norm, ones.Tensor, zeros.Tensor, dropout).Z.ToArray<float>(), v => Assert.Equal(1, v));
    }

    [Fact]
    public void AddForward_WithAHookOnTheDropout_ShowsWhatPasses()
    {
        using var norm = new LayerNorm(4);
        using var dropout = new Dropout(0.5);
        using var scope = TensorScope.Open();
        var seen = 0.0;
        using var hook = dropout.OnPass(HookPlace.Input, (_, x) =>
        {
            seen = x.Sum().Item();
            return default;
        });

        norm.AddForward(Tensor.From<float>([1, 2, 3, 4], 1, 4), Tensor.From<float>([0, 0, 0, 0], 1, 4), Tensor.From<float>([1, 1, 1, 1], 4), dropout);

        Assert.Equal(14, seen);
    }

    [Fact]
    public void AddForward_InFloat64_TakesPlainOperators()
    {
        using var norm = new RmsNorm(2, epsilon: 0);
        using var scope = TensorScope.Open();
        var weights = norm.Parameters().Single().Tensor;
        weights.MoveTo(Device.Cpu, Dtype.Float64);

        var (y, z) = norm.AddForward(Tensor.From<double>([1, 3], 1, 2), Tensor.From<double>([2, 1], 1, 2));

        Assert.Equal([3, 4], z.ToArray<double>());
        Assert.Equal([3 / Math.Sqrt(12.5), 4 / Math.Sqrt(12.5)], y.ToArray<double>().Select(v => v), (a, b) => Math.Abs(a - b) < 1e-15);
    }

    [Theory]
    [InlineData(ActivationKind.Gelu)]
    [InlineData(ActivationKind.GeluTanh)]
    public void Sequential_LinearLayerAndGelu_GiveThePlainValuesAndGradients(ActivationKind kind)
    {
        var fused = Activated(kind, watched: false);
        var plain = Activated(kind, watched: true);

        // float32; the kernel's exponentials are good to a few units in the last place.
        Assert.All(fused.Zip(plain), pair => Assert.All(pair.First.Zip(pair.Second), v => Assert.Equal(v.Second, v.First, 1e-5)));
    }

    private static float[][] Joined(string kind, Dtype dtype, bool watched)
    {
        using var norm = Norm(kind, Width);
        using var dropout = new Dropout(0);
        using var hook = watched ? norm.OnPass(HookPlace.Output, (_, _) => default) : null;
        using var scope = TensorScope.Open();
        using var x = Noise(1, dtype).WithGrad();
        using var residual = Noise(2, dtype).WithGrad();
        using var bias = TensorHandle.Filled(0.25f, Width).WithGrad();
        var (y, z) = kind == "layer"
            ? ((LayerNorm)norm).AddForward(x.Tensor, residual.Tensor, bias.Tensor.To(dtype), dropout)
            : ((RmsNorm)norm).AddForward(x.Tensor, residual.Tensor, dropout);
        using var weights = Noise(3, Dtype.Float32);
        (y.To(Dtype.Float32) * weights.Tensor + z.To(Dtype.Float32) * 0.5).Sum().Backward();
        return [Float(y), Float(z), Float(x.Tensor.Grad()), Float(residual.Tensor.Grad())];
    }

    private static float[][] Activated(ActivationKind kind, bool watched)
    {
        EngineRuntime.Seed(4);
        using var linear = new Linear(Width, 20);
        using var net = new Sequential(linear, new Activation(kind));
        using var hook = watched ? linear.OnPass(HookPlace.Output, (_, _) => default) : null;
        using var scope = TensorScope.Open();
        using var x = Noise(5, Dtype.Float32).WithGrad();
        var y = net.Forward(x.Tensor);
        y.Pow(2).Sum().Backward();
        return [Float(y), Float(x.Tensor.Grad()), Float(linear.Weight.Tensor.Grad()), Float(linear.Bias!.Tensor.Grad())];
    }

    private static Module Norm(string kind, int width) => kind == "layer" ? new LayerNorm(width) : new RmsNorm(width);

    private static (Tensor Y, Tensor Z) Add(Module norm, Tensor x, Tensor residual, Dropout dropout) =>
        norm is LayerNorm layer ? layer.AddForward(x, residual, dropout: dropout) : ((RmsNorm)norm).AddForward(x, residual, dropout);

    private static TensorHandle Noise(int seed, Dtype dtype)
    {
        var random = new Random(seed);
        var noise = TensorHandle.From<float>([.. Enumerable.Range(0, Rows * Width).Select(_ => (float)(random.NextDouble() * 4 - 2))], Rows, Width);
        noise.MoveTo(Device.Cpu, dtype);
        return noise;
    }

    private static float[] Float(Tensor x) => x.To(Dtype.Float32).ToArray<float>();
}
