using DeepSeek.Engine;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>Each family's blocks computed again in the backward pass, dropout and masks included.</summary>
public sealed class CheckpointTests
{
    private const int Tokens = 101;

    public static TheoryData<string, int> Nets => new()
    {
        { "gpt", 3 }, { "gpt fused", 3 }, { "bert", 2 }, { "llama", 2 }, { "resnet", 4 }, { "efficientnet", 4 }, { "mlp", 3 },
    };

    [Theory]
    [MemberData(nameof(Nets))]
    public void Backward_EveryBlockCheckpointed_GivesThePlainBitsInLessMemory(string name, int blocks)
    {
        var plain = Step(name, recompute: false);
        var again = Step(name, recompute: true);

        Assert.Equal(blocks, again.Blocks);
        Assert.Equal(plain.Loss, again.Loss);
        // Every operator sees the same numbers in the same order: no tolerance.
        Assert.All(plain.State.Zip(again.State), pair => Assert.Equal(pair.First, pair.Second));
        // Blocks make up most of each net's activations; the stem and the head keep theirs.
        Assert.InRange(again.Kept, 1, 0.6 * plain.Kept);
    }

    [Theory]
    [InlineData("gpt plain")]
    [InlineData("gpt fused")]
    public void Backward_BlocksThatKeepTheirMiddle_GivesThePlainBitsForOneStreamMoreABlock(string name)
    {
        var plain = Step(name, recompute: false);
        var input = Step(name, recompute: true, keeps: 1);
        var middle = Step(name, recompute: true, keeps: 2);

        Assert.Equal(plain.Loss, middle.Loss);
        Assert.All(plain.State.Zip(middle.State), pair => Assert.Equal(pair.First, pair.Second));
        Assert.Equal(3 * 4 * 24 * 32 * sizeof(float), middle.Kept - input.Kept);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Forward_OfMoreBlocks_TakesNothingBesideWhatTheyKeep(bool recompute)
    {
        // Above what lies between the passes, a forward pass takes what one block makes, however many there are.
        Assert.Equal(Above(4), Above(9));

        long Above(int blocks)
        {
            EngineRuntime.Seed(5);
            using var net = new Gpt(new GptConfig { Vocabulary = Tokens, Length = 32, Width = 32, Layers = blocks, Heads = 4 });
            foreach (var (_, module) in CheckpointPlanner.Segments(net))
            {
                module.Recomputes = recompute;
            }
            using var scope = TensorScope.Open();
            var (x, _) = Inputs("gpt");
            AllocatorMemory.ResetPeak(Device.Cpu);
            var features = net.Features(x);
            var memory = AllocatorMemory.Of(Device.Cpu);
            return memory.Peak - memory.Current;
        }
    }

    private static (double Loss, List<float[]> State, long Kept, int Blocks) Step(string name, bool recompute, int keeps = 1)
    {
        EngineRuntime.Seed(5);
        using var net = Net(name);
        var segments = CheckpointPlanner.Segments(net);
        foreach (var (_, module) in segments)
        {
            (module.Recomputes, module.Keeps) = (recompute, keeps);
        }
        using var scope = TensorScope.Open();
        var (x, extra) = Inputs(name);
        var before = AllocatorMemory.Of(Device.Cpu).Current;
        var loss = Forward(net, x, extra);
        var kept = AllocatorMemory.Of(Device.Cpu).Current - before;
        loss.Backward();
        var gradients = net.Parameters().Select(p => p.Tensor.Tensor.Grad()).Where(g => !g.IsNone).Select(g => g.ToArray<float>());
        return (loss.Item(), [.. gradients, .. net.Buffers().Where(b => b.Tensor.Tensor.Dtype == Dtype.Float32).Select(b => b.Tensor.Tensor.ToArray<float>())], kept, segments.Count);
    }

    private static Tensor Forward(Module net, Tensor x, Tensor mask)
    {
        using var scope = TensorScope.Open();
        var output = net is BertClassifier bert ? bert.Classify(x, mask: mask) : net.Forward(x);
        return scope.Return(output.Pow(2).Mean());
    }

    private static Module Net(string name) => name switch
    {
        "gpt" => new Gpt(new GptConfig { Vocabulary = Tokens, Length = 32, Width = 32, Layers = 3, Heads = 4, Dropout = 0.1 }),
        "gpt plain" => new Gpt(new GptConfig { Vocabulary = Tokens, Length = 32, Width = 32, Layers = 3, Heads = 4 }),
        "gpt fused" => new Gpt(new GptConfig { Vocabulary = Tokens, Length = 32, Width = 32, Layers = 3, Heads = 4, Float32Residual = true }),
        "bert" => new BertClassifier(new BertConfig { Vocabulary = Tokens, Length = 32, Width = 32, Layers = 2, Heads = 4, Inner = 64 }, 3),
        "llama" => new Llama(new LlamaConfig { Vocabulary = Tokens, Length = 32, Width = 32, Layers = 2, Heads = 4, KeyHeads = 2, Inner = 64 }),
        "resnet" => new ResNet(new ResNetConfig { Blocks = [1, 1, 1, 1], Bottleneck = true, Outputs = 10 }),
        "efficientnet" => new EfficientNet(new EfficientNetConfig { Stem = 16, Stages = [new(1, 3, 1, 8, 1), new(6, 3, 2, 16, 2), new(4, 5, 2, 24, 1)], Outputs = 10 }),
        _ => new TabularMlp(new TabularMlpConfig { Inputs = 8, Outputs = 3, Width = 64, Blocks = 3, Dropout = 0.3 }),
    };

    // BERT's second input masks the second half of every other sequence.
    private static (Tensor X, Tensor Mask) Inputs(string name) => name switch
    {
        "resnet" or "efficientnet" => (Normal(4, 3, 64, 64), default),
        "mlp" => (Normal(128, 8), default),
        _ => (Tensor.From<long>([.. Enumerable.Range(0, 4 * 24).Select(i => (long)(i * 37 % Tokens))], 4, 24),
            Tensor.From<float>([.. Enumerable.Range(0, 4 * 24).Select(i => i / 24 % 2 == 0 || i % 24 < 12 ? 1f : 0f)], 4, 24)),
    };

    private static Tensor Normal(params ReadOnlySpan<long> sizes)
    {
        var x = Tensor.Empty(Dtype.Float32, sizes);
        x.NormalInPlace(0, 1);
        return x;
    }
}
