using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class DynamicSparseAttentionTests
{
    private static readonly SparsePolicy s_everything = new() { Density = 1, QueryBlock = 16, KeyBlock = 16, Stride = 8 };
    private static readonly SparsePolicy s_some = s_everything with { Density = 0.5, WindowBlocks = 0 };

    // Logits of a few units in float32, by two orders of summation.
    private const double Near = 2e-5;

    [Fact]
    public void Gpt_SparseAtDensityOne_EqualsDenseInLossAndGradients()
    {
        var config = new GptConfig { Vocabulary = 29, Length = 80, Width = 24, Layers = 2, Heads = 3 };
        using var dense = new Gpt(config);
        using var sparse = new Gpt(config with { Sparse = s_everything });
        Copy(dense, sparse);
        using var scope = TensorScope.Open();
        var (ids, targets) = (Ids(1, 2, 70, 29), Ids(2, 2, 70, 29));
        var (expected, actual) = (dense.Loss(ids, targets), sparse.Loss(ids, targets));
        Assert.Equal(expected.Item(), actual.Item(), Near);
        expected.Backward();
        actual.Backward();
        foreach (var (a, b) in dense.Parameters().Zip(sparse.Parameters()))
        {
            Equal(a.Tensor.Tensor.Grad(), b.Tensor.Tensor.Grad(), a.Name);
        }
    }

    [Fact]
    public void Gpt_Sparse_ReportsTheDensityOfEveryLayer()
    {
        using var net = new Gpt(new GptConfig { Vocabulary = 29, Length = 160, Width = 24, Layers = 2, Heads = 3, Sparse = s_some });
        using var scope = TensorScope.Open();
        Assert.All(net.SparseLayers, layer => Assert.Null(layer.Density()));
        foreach (var layer in net.SparseLayers)
        {
            layer.Reports = true;
        }
        var ids = Ids(3, 1, 160, 29).ToArray<long>();
        net.Forward(Tensor.From<long>(ids, 1, 160));
        // Ten blocks of 16: of n visible ones ceil(n/2) are kept, but the first and the diagonal always: (1+2+2+2+3+3+4+4+5+5)/55.
        Assert.Equal(2, net.SparseLayers.Count);
        Assert.All(net.SparseLayers, layer => Assert.Equal(31.0 / 55, layer.Density()!.Value, 12));
    }

    [Fact]
    public void Bert_SparseAtDensityOneWithPadding_EqualsDense()
    {
        var config = new BertConfig { Vocabulary = 29, Length = 40, Width = 24, Layers = 2, Heads = 3, Inner = 32, Dropout = 0 };
        using var dense = new Bert(config);
        using var sparse = new Bert(config with { Sparse = s_everything });
        Copy(dense, sparse);
        using var scope = TensorScope.Open();
        var ids = Ids(5, 2, 40, 29);
        var mask = Tensor.From<long>([.. Enumerable.Range(0, 80).Select(i => i % 40 < (i < 40 ? 40 : 23) ? 1L : 0L)], 2, 40);
        // Of padding itself nothing is asked: the second row has 23 tokens.
        var (expected, actual) = (dense.Encode(ids, default, mask), sparse.Encode(ids, default, mask));
        Equal(expected.Narrow(0, 0, 1), actual.Narrow(0, 0, 1), "states of the whole row");
        Equal(expected.Narrow(0, 1, 1).Narrow(1, 0, 23), actual.Narrow(0, 1, 1).Narrow(1, 0, 23), "states of the padded row");
        Equal(dense.Encode(ids), sparse.Encode(ids), "states without padding");
    }

    private static Tensor Ids(int seed, int rows, int length, int vocabulary)
    {
        var random = new Random(seed);
        return Tensor.From<long>([.. Enumerable.Range(0, rows * length).Select(_ => (long)random.Next(1, vocabulary))], rows, length);
    }

    private static void Copy(Module from, Module to)
    {
        using var scope = TensorScope.Open();
        using var noGrad = NoGrad.Enter();
        foreach (var (a, b) in from.Parameters().Zip(to.Parameters()))
        {
            b.Tensor.Tensor.CopyInPlace(a.Tensor.Tensor);
        }
    }

    private static void Equal(Tensor expected, Tensor actual, string what)
    {
        var (a, b) = (expected.Reshape(-1).ToArray<float>(), actual.Reshape(-1).ToArray<float>());
        Assert.Equal(a.Length, b.Length);
        for (var i = 0; i < a.Length; i++)
        {
            Assert.True(Math.Abs(a[i] - b[i]) <= Near * (1 + Math.Abs(a[i])), $"{what}[{i}]: {b[i]:r}, expected {a[i]:r}");
        }
    }
}
