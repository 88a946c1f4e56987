using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class TokenSparseAttentionTests
{
    private static readonly TokenSparsePolicy s_some = new() { Tokens = 8, IndexerHeads = 1, IndexerDim = 6 };
    private static readonly GptConfig s_config = new() { Vocabulary = 29, Length = 80, Width = 48, Layers = 2, Heads = 3 };

    // Logits of a few units in float32, by two orders of summation.
    private const double Near = 2e-5;

    [Fact]
    public void Gpt_WithRoomForEveryToken_EqualsDenseInLossAndGradients()
    {
        using var dense = new Gpt(s_config);
        using var sparse = new Gpt(s_config with { TokenSparse = s_some with { Tokens = 80 } });
        Copy(dense, sparse);
        using var scope = TensorScope.Open();
        var (ids, targets) = (Ids(1, 2, 70), Ids(2, 2, 70));
        var (expected, actual) = (dense.Loss(ids, targets), sparse.Loss(ids, targets));
        Assert.Equal(expected.Item(), actual.Item(), Near);
        expected.Backward();
        actual.Backward();
        var found = sparse.Parameters().ToDictionary(p => p.Name, p => p.Tensor);
        Assert.All(dense.Parameters(), p => Equal(p.Tensor.Tensor.Grad(), found[p.Name].Tensor.Grad(), p.Name));
    }

    [Theory]
    [InlineData(IndexerStage.WarmUp)]
    [InlineData(IndexerStage.Sparse)]
    public void Losses_OfModelAndIndexer_TeachTheirOwnWeightsOnly(IndexerStage stage)
    {
        using var net = new Gpt(s_config with { TokenSparse = s_some });
        foreach (var layer in net.TokenSparseLayers)
        {
            layer.Stage = stage;
        }
        using var scope = TensorScope.Open();
        var (ids, targets) = (Ids(1, 2, 40), Ids(2, 2, 40));
        var loss = net.Loss(ids, targets);
        Assert.Equal(10, net.Parameters().Count(IsIndexer)); // two layers of three projections and a norm with two
        loss.Backward();
        Assert.All(net.Parameters(), p => Assert.Equal(IsIndexer(p), p.Tensor.Tensor.Grad().IsNone));
        var before = net.Parameters().Where(p => !IsIndexer(p)).Select(p => p.Tensor.Tensor.Grad().ToArray<float>()).ToArray();
        net.ChoiceLoss().Backward();
        Assert.Equal(before, net.Parameters().Where(p => !IsIndexer(p)).Select(p => p.Tensor.Tensor.Grad().ToArray<float>()));
        Assert.All(net.Parameters().Where(IsIndexer), p => Assert.Contains(p.Tensor.Tensor.Grad().ToArray<float>(), x => x != 0));
        Assert.Contains("no indexer loss", Assert.Throws<InvalidOperationException>(() => net.ChoiceLoss()).Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Extend_InPiecesOfAnyLength_EqualsOnePass(bool fp8)
    {
        using var net = new Gpt(s_config with { TokenSparse = s_some with { Fp8 = fp8 } });
        net.Train(false);
        using var scope = TensorScope.Open();
        var ids = Ids(7, 2, 60);
        var expected = net.Forward(ids);
        using var cache = net.Cache(2, 60);
        var pieces = new List<Tensor>();
        foreach (var count in new[] { 25, 1, 1, 1, 17, 1, 13, 1 })
        {
            pieces.Add(net.Extend(ids.Narrow(1, cache.Length, count), cache));
        }
        Equal(expected, Tensor.Cat([.. pieces], 1), "logits");
        Assert.Equal(60, cache.Length);
        Assert.Contains("room for 60 tokens", Assert.Throws<InvalidOperationException>(() => net.Extend(ids.Narrow(1, 0, 1), cache)).Message);
        // Back to an earlier place, and on from there.
        cache.Shorten(44);
        Equal(expected.Narrow(1, 44, 16), net.Extend(ids.Narrow(1, 44, 16), cache), "logits after going back");
    }

    [Fact]
    public void Density_OfEveryLayer_IsReported()
    {
        using var net = new Gpt(s_config with { TokenSparse = s_some });
        net.Train(false);
        using var scope = TensorScope.Open();
        Assert.All(net.TokenSparseLayers, layer => Assert.Null(layer.Density()));
        foreach (var layer in net.TokenSparseLayers)
        {
            layer.Reports = true;
        }
        net.Forward(Ids(3, 2, 40));
        // 1 + 2 + … + 8 of the first eight queries, then 8 each; of 40 · 41 / 2.
        Assert.All(net.TokenSparseLayers, layer => Assert.Equal((36 + 32 * 8) / 820.0, layer.Density()!.Value, 12));
        using var cache = net.Cache(2, 50);
        net.Extend(Ids(3, 2, 40), cache);
        net.Extend(Ids(4, 2, 2), cache);
        Assert.All(net.TokenSparseLayers, layer => Assert.Equal(16.0 / (41 + 42), layer.Density()!.Value, 12));
    }

    [Fact]
    public void Gpt_WithAnIndexerBeyondItsBudgetOrTwoKindsOfSparsity_IsRefused()
    {
        // Three heads of 16: 96 dimensions, of which a sixteenth is 6.
        var error = Assert.Throws<ArgumentException>(() => new Gpt(s_config with { TokenSparse = s_some with { IndexerDim = 7 } }));
        Assert.Contains("has 7 dimensions; attention of 3 heads of 16 allows 6", error.Message);
        Assert.Contains("exclude", Assert.Throws<ArgumentException>(() => new Gpt(s_config with { TokenSparse = s_some, Sparse = new() })).Message);
        using var dense = new Gpt(s_config);
        Assert.Contains("TokenSparse", Assert.Throws<InvalidOperationException>(() => dense.Cache(1)).Message);
    }

    internal static bool IsIndexer(NamedTensor parameter) => parameter.Name.Contains(".indexer.", StringComparison.Ordinal);

    internal static void Copy(Module from, Module to)
    {
        using var scope = TensorScope.Open();
        using var noGrad = NoGrad.Enter();
        var targets = to.Parameters().ToDictionary(p => p.Name, p => p.Tensor);
        foreach (var (name, tensor) in from.Parameters())
        {
            targets[name].Tensor.CopyInPlace(tensor.Tensor);
        }
    }

    private static Tensor Ids(int seed, int rows, int length)
    {
        var random = new Random(seed);
        return Tensor.From<long>([.. Enumerable.Range(0, rows * length).Select(_ => (long)random.Next(1, 29))], rows, length);
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
