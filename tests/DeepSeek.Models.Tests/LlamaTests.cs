using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class LlamaTests
{
    private static readonly LlamaConfig s_small = new() { Vocabulary = 61, Length = 96, Width = 32, Layers = 3, Heads = 4, KeyHeads = 2, Inner = 48 };

    private static readonly SparsePolicy s_all = new() { Density = 1, QueryBlock = 16, KeyBlock = 16, Stride = 4, WindowBlocks = 0 };

    [Fact]
    public void Loss_WhileTraining_EqualsThePlainPassInValueAndGradients()
    {
        using var net = new Llama(s_small);
        net.Train(false);
        var plain = LossAndGradients(net);
        net.Train();
        var fused = LossAndGradients(net);
        Near(plain, fused);
    }

    [Fact]
    public void Loss_SparseAtDensityOne_EqualsDenseInValueAndGradients()
    {
        using var dense = new Llama(s_small);
        using var sparse = new Llama(s_small with { Sparse = s_all });
        TakeWeights(dense, sparse);
        Near(LossAndGradients(dense), LossAndGradients(sparse));
    }

    [Fact]
    public void Loss_TiedInBFloat16_StaysWithinItsRoundingOfFloat32()
    {
        using var net = new Llama(s_small with { Tied = true });
        var exact = LossAndGradients(net).Loss;
        net.ToPrecision(Dtype.BFloat16);
        Assert.Equal(Dtype.Float32, net.Parameters().Single(p => p.Name == "model.norm.weight").Tensor.Tensor.Dtype);
        // 2⁻⁸ of a loss of log 61 ≈ 4, to which every layer adds its roundings; both passes round alike but not equally.
        Assert.Equal(exact, LossAndGradients(net).Loss, 0.02);
        net.Train(false);
        Assert.Equal(exact, LossAndGradients(net).Loss, 0.02);
    }

    [Theory]
    [InlineData(0.8)]
    [InlineData(0.6)]
    public void Fit_AMass_KeepsTheDensityAskedForAndHardlyLess(double density)
    {
        using var net = new Llama(s_small with { Sparse = s_all });
        net.Train(false);
        var (mass, kept) = SparseBudget.Fit(net.SparseLayers, density, Pass);
        Assert.InRange(mass, 1.0 / 4096, 1);
        Assert.InRange(kept, density - 0.05, density);
        Assert.All(net.SparseLayers, layer => Assert.False(layer.Reports));
        foreach (var layer in net.SparseLayers)
        {
            layer.Reports = true;
        }
        Pass();
        Assert.Equal(kept, net.SparseLayers.Average(layer => layer.Density()!.Value), 12);

        void Pass()
        {
            using var scope = TensorScope.Open();
            net.Features(Ids(7));
        }
    }

    [Fact]
    public void Fit_BelowWhatSinkAndDiagonalTake_KeepsThese()
    {
        using var net = new Llama(s_small with { Sparse = s_all });
        net.Train(false);
        var (mass, kept) = SparseBudget.Fit(net.SparseLayers, 0.1, () =>
        {
            using var scope = TensorScope.Open();
            net.Features(Ids(7));
        });
        // Six blocks of 16: the first row sees one, the others keep the first and their own; 11 of 21.
        Assert.Equal(11.0 / 21, kept, 12);
        Assert.Equal(1.0 / 4096, mass);
    }

    private static (double Loss, Dictionary<string, float[]> Gradients) LossAndGradients(Llama net)
    {
        using var scope = TensorScope.Open();
        using var optimizer = new Sgd(net);
        optimizer.ClearGradients();
        var loss = net.Loss(Ids(1), Ids(2));
        loss.Backward();
        return (loss.Item(), net.Parameters().Where(p => p.Tensor.Tensor.Dtype == Dtype.Float32).ToDictionary(p => p.Name, p => p.Tensor.Tensor.Grad().ToArray<float>()));
    }

    // Logits of a few units and sums of 192 rows in float32, by two orders of summation.
    private static void Near((double Loss, Dictionary<string, float[]> Gradients) expected, (double Loss, Dictionary<string, float[]> Gradients) actual)
    {
        Assert.Equal(expected.Loss, actual.Loss, 1e-5);
        foreach (var (name, gradient) in expected.Gradients)
        {
            var largest = gradient.Zip(actual.Gradients[name], (a, b) => Math.Abs(a - b)).Max();
            Assert.True(largest < 2e-6, $"{name} differs by {largest}");
        }
    }

    private static void TakeWeights(Llama from, Llama to)
    {
        using var scope = TensorScope.Open();
        using var still = NoGrad.Enter();
        foreach (var (a, b) in from.Parameters().Zip(to.Parameters()))
        {
            b.Tensor.Tensor.CopyInPlace(a.Tensor.Tensor);
        }
    }

    private static Tensor Ids(int seed)
    {
        var random = new Random(seed);
        return Tensor.From<long>([.. Enumerable.Range(0, 2 * 96).Select(_ => (long)random.Next(61))], 2, 96);
    }
}
