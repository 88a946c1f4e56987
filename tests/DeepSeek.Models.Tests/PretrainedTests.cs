using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

public sealed class PretrainedTests : IDisposable
{
    private static readonly GptConfig s_small = new() { Vocabulary = 13, Length = 6, Width = 8, Layers = 2, Heads = 2 };

    private readonly string _folder = Directory.CreateTempSubdirectory("pretrained").FullName;

    [Fact]
    public void Load_AsTransformersSavesAModelWithAHead_FillsTheBody()
    {
        using var source = Filled(new Gpt(s_small));
        using var mask = TensorHandle.Filled(1, 1, 1, 6, 6);
        var first = source.State().Take(5).Select(t => new NamedTensor("transformer." + t.Name, t.Tensor)).Append(new NamedTensor("transformer.h.0.attn.bias", mask));
        var second = source.State().Skip(5).Select(t => new NamedTensor("transformer." + t.Name, t.Tensor)).Append(new NamedTensor("lm_head.weight", source.HeadWeight));
        using var target = new Gpt(s_small);

        Pretrained.Load(target, [Save(first), Save(second)]);

        AssertSame(source, target, 0);
    }

    [Fact]
    public void Load_HalfPrecision_IsConverted()
    {
        using var source = Filled(new Llama(new LlamaConfig { Vocabulary = 11, Length = 4, Width = 8, Layers = 1, Heads = 2, KeyHeads = 1, Inner = 8 }));
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var half = source.State().Select(t => new NamedTensor(t.Name, t.Tensor.Tensor.To(Dtype.BFloat16).Keep())).ToArray();
        using var target = new Llama(source.Config);

        Pretrained.Load(target, [Save(half)]);

        // Eight bits of precision: half a unit in the last place.
        AssertSame(source, target, 1.0 / 256);
        Array.ForEach(half, t => t.Tensor.Dispose());
    }

    [Fact]
    public void Load_TorchvisionsCounters_ArePassedOver()
    {
        var config = new ResNetConfig { Blocks = [1, 1], Width = 4, Outputs = 3 };
        using var source = Filled(new ResNet(config));
        using var counter = TensorHandle.From<long>([7]);
        using var target = new ResNet(config);

        Pretrained.Load(target, [Save(source.State().Append(new NamedTensor("bn1.num_batches_tracked", counter)))]);

        AssertSame(source, target, 0);
    }

    [Fact]
    public void Load_OfADenseNetIntoATokenSparseOne_LeavesTheIndexerAsItWas()
    {
        var dense = s_small with { Width = 32 };
        using var source = Filled(new Gpt(dense));
        using var target = new Gpt(dense with { TokenSparse = new() { Tokens = 3, IndexerDim = 4 } });
        float[][] Indexers() => [.. target.State().Where(TokenSparseAttentionTests.IsIndexer).Select(t => t.Tensor.Tensor.ToArray<float>())];
        var before = Indexers();

        Pretrained.Load(target, [Save(source.State())]);

        Assert.Equal(before, Indexers());
        var loaded = target.State().ToDictionary(t => t.Name, t => t.Tensor);
        Assert.All(source.State(), t => Assert.Equal(t.Tensor.Tensor.ToArray<float>(), loaded[t.Name].Tensor.ToArray<float>()));
        // A file that knows of some of the indexer must know of all.
        var some = target.State().Where(t => !t.Name.EndsWith("indexer.wk.weight", StringComparison.Ordinal));
        Assert.Contains("indexer.wk.weight", Assert.Throws<InvalidDataException>(() => Pretrained.Load(target, [Save(some)])).Message);
    }

    [Fact]
    public void Load_MissingAndUnknownTensors_AreNamed()
    {
        using var source = Filled(new Gpt(s_small));
        using var target = new Gpt(s_small);

        var fault = Assert.Throws<InvalidDataException>(() => Pretrained.Load(target, [Save(source.State().Select(t => t.Name == "wpe.weight" ? t with { Name = "wpx.weight" } : t))]));

        Assert.Contains("Missing: wpe.weight", fault.Message, StringComparison.Ordinal);
        Assert.Contains("Unknown to the net: wpx.weight", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_OtherShape_IsRefused()
    {
        using var source = Filled(new Gpt(s_small));
        using var target = new Gpt(s_small with { Length = 7 });

        var fault = Assert.Throws<InvalidDataException>(() => Pretrained.Load(target, [Save(source.State())]));

        Assert.Contains("'wpe.weight' has shape [6, 8] in the file and [7, 8] in the net", fault.Message, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Save(IEnumerable<NamedTensor> tensors)
    {
        var path = Path.Combine(_folder, Path.GetRandomFileName());
        using var file = File.Create(path);
        Safetensors.Write(file, tensors);
        return path;
    }

    private static T Filled<T>(T net) where T : Module
    {
        Noise.Fill(net);
        return net;
    }

    private static void AssertSame(Module source, Module target, double tolerance)
    {
        var values = target.State().ToDictionary(t => t.Name, t => t.Tensor.Tensor.ToArray<float>());
        foreach (var (name, tensor) in source.State())
        {
            Assert.All(tensor.Tensor.ToArray<float>().Zip(values[name]), p => Assert.True(Math.Abs(p.First - p.Second) <= tolerance * Math.Abs(p.First), name));
        }
    }
}
