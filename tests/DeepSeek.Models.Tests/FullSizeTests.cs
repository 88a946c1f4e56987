using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>The published models at full size, without memory: weights counted against the numbers their authors give.</summary>
public sealed class FullSizeTests
{
    private static readonly string s_snapshots = Path.Combine(AppContext.BaseDirectory, "Goldens", "snapshots");

    public static TheoryData<string, long> Published => new()
    {
        { "resnet18", 11_689_512 },
        { "resnet50", 25_557_032 },
        { "efficientnet_b0", 5_288_548 },
        { "unet", 31_037_698 },
        { "gpt2", 124_439_808 },
        { "bert-base-uncased", 109_482_240 },
        { "TinyLlama-1.1B", 1_100_048_384 },
        { "Llama-3.2-1B", 1_235_814_400 },
    };

    [Theory]
    [MemberData(nameof(Published))]
    public void Parameters_OfPublishedModel_AreAsMany(string name, long expected)
    {
        using var meta = MetaDevice.Enter();
        using var net = Create(name);

        Assert.Equal(expected, net.Parameters().Sum(p => p.Tensor.Tensor.Elements));
    }

    public static TheoryData<string> Snapshots => [.. Directory.GetFiles(s_snapshots, "*.txt").Select(f => Path.GetFileNameWithoutExtension(f)).Order()];

    /// <summary>Names and shapes are those of torchvision's and transformers' own state (Goldens/make.py): their files load.</summary>
    [Theory]
    [MemberData(nameof(Snapshots))]
    public void State_OfPublishedModel_HasPythonsNamesAndShapes(string name)
    {
        using var meta = MetaDevice.Enter();
        using var net = Create(name);

        var state = net.State().Select(t => string.Join(' ', [t.Name, .. t.Tensor.Tensor.Shape()])).Order(StringComparer.Ordinal);

        Assert.Equal(File.ReadAllLines(Path.Combine(s_snapshots, name + ".txt")), state);
    }

    internal static Module Create(string name) => name switch
    {
        "resnet18" => new ResNet(ResNetConfig.ResNet18),
        "resnet50" => new ResNet(ResNetConfig.ResNet50),
        "efficientnet_b0" => new EfficientNet(new EfficientNetConfig()),
        "gpt2" => new Gpt(new GptConfig()),
        "bert-base-uncased" => new Bert(new BertConfig()),
        "TinyLlama-1.1B" => new Llama(new LlamaConfig()),
        "Llama-3.2-1B" => new Llama(LlamaConfig.Llama1B),
        "lstm" => Families.Of("lstm").Net(),
        "unet" => new UNet(new UNetConfig()),
        _ => throw new ArgumentException(name),
    };
}
