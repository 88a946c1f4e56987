using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models.Tests;

/// <summary>The published models at full size, without memory: weights counted against the numbers their authors give.</summary>
public sealed class FullSizeTests
{
    public static TheoryData<string, long> Published => new()
    {
        { "resnet18", 11_689_512 },
        { "resnet50", 25_557_032 },
        { "gpt2", 124_439_808 },
    };

    [Theory]
    [MemberData(nameof(Published))]
    public void Parameters_OfPublishedModel_AreAsMany(string name, long expected)
    {
        using var meta = MetaDevice.Enter();
        using var net = Create(name);

        Assert.Equal(expected, net.Parameters().Sum(p => p.Tensor.Tensor.Elements));
    }

    internal static Module Create(string name) => name switch
    {
        "resnet18" => new ResNet(ResNetConfig.ResNet18),
        "resnet50" => new ResNet(ResNetConfig.ResNet50),
        "gpt2" => new Gpt(new GptConfig()),
        _ => throw new ArgumentException(name),
    };
}
