using System.Numerics;
using System.Text;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>A family in the small configuration that Goldens/make.py trains too.</summary>
/// <param name="Net">Makes it, with weights yet to be filled.</param>
/// <param name="Inputs">Inputs of a step.</param>
/// <param name="Forward">Net and inputs → output.</param>
/// <param name="Loss">Output and step → loss.</param>
/// <param name="Adamw">AdamW, else momentum.</param>
internal sealed record Family(Func<Module> Net, Func<int, Tensor[]> Inputs, Func<Module, Tensor[], Tensor> Forward, Func<Tensor, int, Tensor> Loss, bool Adamw = true)
{
    internal Optimizer Optimizer(Module net) => Adamw ? new AdamW(net, weightDecay: 1e-2, epsilon: 1e-6) : new Sgd(net, weightDecay: 1e-2, momentum: 0.9);

    internal double Rate => Adamw ? 1e-3 : Families.MomentumRate;
}

internal static class Families
{
    internal const double MomentumRate = 1e-3;

    internal static readonly string[] Names =
        ["mlp", "mlp regression", "convnet", "resnet basic", "resnet bottleneck", "efficientnet", "lstm", "bert", "gpt2", "llama", "unet2d", "unet3d"];

    internal static Family Of(string name) => name switch
    {
        "mlp" => new(() => new TabularMlp(new TabularMlpConfig { Inputs = 8, Outputs = 3, Width = 16, Dropout = 0 }), s => [Scaled(s, 16, 8)], Plain, Classes(16, 3)),
        "mlp regression" => new(
            () => new TabularMlp(new TabularMlpConfig { Inputs = 8, Outputs = 1, Width = 16, Dropout = 0, Normalization = NormKind.Layer, Activation = ActivationKind.Gelu }),
            s => [Scaled(s, 16, 8)], Plain, (y, s) => Losses.MeanSquaredError(y.Reshape(-1), Noise.Uniform($"target {s}", 16))),
        "convnet" => Images(() => new ConvNet(new ConvNetConfig { Inputs = 1, Height = 12, Width = 12, Outputs = 5, Channels = [4, 8], Hidden = 16, Dropout = 0 }), 16, 1, 12, 5),
        "resnet basic" => Images(() => new ResNet(new ResNetConfig { Blocks = [1, 1, 1, 1], Outputs = 10 }), 4, 3, 48, 10),
        "resnet bottleneck" => Images(() => new ResNet(new ResNetConfig { Blocks = [1, 1, 1, 1], Bottleneck = true, Outputs = 10 }), 4, 3, 48, 10),
        "efficientnet" => Images(() => new EfficientNet(new EfficientNetConfig
        {
            Stem = 16,
            Stages = [new(1, 3, 1, 8, 1), new(6, 3, 2, 16, 2), new(4, 5, 2, 24, 1)],
            Dropout = 0,
            StochasticDepth = 0,
            Outputs = 10,
        }), 8, 3, 64, 10),
        "lstm" => new(
            () => new LstmClassifier(new LstmConfig { Inputs = 53, Width = 12, Hidden = 10, Attention = 8, Outputs = 4 }),
            s => [Noise.Integers($"input {s}", 53, 8, 9)], Plain, Classes(8, 4)),
        "bert" => new(
            () => new BertClassifier(new BertConfig { Vocabulary = 97, Length = 24, Width = 32, Layers = 2, Heads = 4, Inner = 64, Dropout = 0 }, 3),
            s => [Noise.Integers($"input {s}", 97, 4, 12), .. SegmentsAndMask()], (net, x) => ((BertClassifier)net).Classify(x[0], x[1], x[2]), Classes(4, 3)),
        "gpt2" => Language(() => new Gpt(new GptConfig { Vocabulary = 101, Length = 32, Width = 32, Layers = 2, Heads = 4 })),
        "llama" => Language(() => new Llama(new LlamaConfig { Vocabulary = 101, Length = 32, Width = 32, Layers = 2, Heads = 4, KeyHeads = 2, Inner = 64 })),
        "unet2d" => Segmentation(new UNetConfig { Inputs = 1, Outputs = 2, Width = 8, Levels = 2 }, 32, 32),
        "unet3d" => Segmentation(new UNetConfig { Dimensions = 3, Inputs = 1, Outputs = 2, Width = 4, Levels = 2, NormGroups = 2 }, 16, 16, 16),
        _ => throw new ArgumentException(name),
    };

    private static Family Images(Func<Module> net, int batch, int channels, int side, int classes) =>
        new(net, s => [Scaled(s, batch, channels, side, side)], Plain, Classes(batch, classes), Adamw: false);

    private static Family Language(Func<Module> net) =>
        new(net, s => [Noise.Integers($"input {s}", 101, 4, 16)], Plain, (y, s) => Losses.CrossEntropy(y.Reshape(64, 101), Noise.Integers($"target {s}", 101, 64)));

    private static Family Segmentation(UNetConfig config, params long[] sides) => new(
        () => new UNet(config), s => [Noise.Uniform($"input {s}", [2, 1, .. sides])], Plain,
        (y, s) =>
        {
            var target = Noise.Integers($"target {s}", 2, [2, 2, .. sides]).To(Dtype.Float32);
            return Losses.BinaryCrossEntropyWithLogits(y, target) + Losses.Dice(y, target);
        });

    private static Tensor Plain(Module net, Tensor[] inputs) => net.Forward(inputs[0]);

    private static Func<Tensor, int, Tensor> Classes(int batch, int count) => (y, s) => Losses.CrossEntropy(y, Noise.Integers($"target {s}", count, batch));

    private static Tensor Scaled(int step, params long[] sizes) => Noise.Uniform($"input {step}", sizes) * 2;

    /// <summary>Rows end after 12, 10, 8 and 6 tokens; the second half is segment 1.</summary>
    private static Tensor[] SegmentsAndMask() =>
    [
        Tensor.From<long>([.. Enumerable.Range(0, 48).Select(i => i % 12 >= 6 ? 1L : 0)], 4, 12),
        Tensor.From<long>([.. Enumerable.Range(0, 48).Select(i => i % 12 < 12 - 2 * (i / 12) ? 1L : 0)], 4, 12),
    ];
}

/// <summary>The hash of Goldens/make.py: weights, inputs and targets that both languages draw bit for bit alike.</summary>
internal static class Noise
{
    internal static Tensor Uniform(string name, params long[] sizes)
    {
        var values = new float[sizes.Aggregate(1L, (a, b) => a * b)];
        Uniform(name, values);
        return Tensor.From<float>(values, sizes);
    }

    internal static Tensor Integers(string name, long limit, params long[] sizes)
    {
        var seed = Seed(name);
        return Tensor.From<long>([.. Enumerable.Range(0, (int)sizes.Aggregate(1L, (a, b) => a * b)).Select(i => Hash(i, seed) % limit)], sizes);
    }

    /// <summary>Matrices and kernels u/2^k with 4^k the first power not below the inputs, offsets u/16, scales 1 + u/8.</summary>
    internal static void Fill(Module net)
    {
        foreach (var (name, tensor) in net.Parameters())
        {
            var values = tensor.Span<float>();
            Uniform(name, values);
            var matrix = tensor.Tensor.Rank >= 2;
            var inputs = (ulong)(values.Length / tensor.Tensor.Size(0));
            var scale = matrix ? 1f / (1 << ((BitOperations.Log2(Math.Max(1, 2 * inputs - 1)) + 1) / 2)) : name.Contains("bias", StringComparison.Ordinal) ? 1f / 16 : 1f / 8;
            var offset = matrix || name.Contains("bias", StringComparison.Ordinal) ? 0f : 1f;
            foreach (ref var value in values)
            {
                value = offset + value * scale;
            }
        }
    }

    private static void Uniform(string name, Span<float> values)
    {
        var seed = Seed(name);
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)((Hash(i, seed) >> 8) / 8388608.0 - 1);
        }
    }

    private static uint Seed(string name) => Encoding.UTF8.GetBytes(name).Aggregate(2166136261u, (value, b) => (value ^ b) * 16777619);

    private static uint Hash(int index, uint seed)
    {
        var h = (uint)index * 0x9E3779B1 + seed;
        h = (h ^ h >> 16) * 0x85EBCA6B;
        h = (h ^ h >> 13) * 0xC2B2AE35;
        return h ^ h >> 16;
    }
}
