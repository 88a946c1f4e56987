using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>One stage of an <see cref="EfficientNet"/>: the first block changes channels and size, the others keep them.</summary>
/// <param name="Expansion">Inner channels as a multiple of the block's input channels.</param>
/// <param name="Kernel">Side of the depthwise kernel.</param>
/// <param name="Stride">Of the first block.</param>
/// <param name="Outputs">Channels.</param>
/// <param name="Blocks">Number of blocks.</param>
public sealed record EfficientNetStage(int Expansion, int Kernel, int Stride, int Outputs, int Blocks);

/// <summary>Sizes of an <see cref="EfficientNet"/>; the defaults are B0's, 5 288 548 weights.</summary>
public sealed record EfficientNetConfig
{
    /// <summary>Channels of the first layer.</summary>
    public int Stem { get; init; } = 32;

    /// <summary>The stages.</summary>
    public IReadOnlyList<EfficientNetStage> Stages { get; init; } =
    [
        new(1, 3, 1, 16, 1), new(6, 3, 2, 24, 2), new(6, 5, 2, 40, 2), new(6, 3, 2, 80, 3), new(6, 5, 1, 112, 3), new(6, 5, 2, 192, 4), new(6, 3, 1, 320, 1),
    ];

    /// <summary>Share of features dropped in front of the classes while training.</summary>
    public double Dropout { get; init; } = 0.2;

    /// <summary>Probability to drop the last block's branch while training; earlier blocks' grow towards it.</summary>
    public double StochasticDepth { get; init; } = 0.2;

    /// <summary>Channels of an image.</summary>
    public int Inputs { get; init; } = 3;

    /// <summary>Classes.</summary>
    public int Outputs { get; init; } = 1000;
}

/// <summary>
/// EfficientNet (Tan &amp; Le, arXiv 1905.11946) of inverted bottlenecks with squeeze and excitation; weights named as torchvision names
/// them (<c>features.0.0.weight</c>, <c>features.1.0.block.1.fc1.weight</c>, <c>classifier.1.bias</c> …).
/// </summary>
public sealed class EfficientNet : Module
{
    private readonly Sequential _features;
    private readonly GlobalAvgPool _mean;
    private readonly Sequential _classifier;

    /// <summary>Draws initial weights: kernels N(0, 2/(outputs·k²)), classes evenly over ±1/√outputs.</summary>
    public EfficientNet(EfficientNetConfig config)
    {
        var parts = new List<Module> { InvertedBottleneck.Layer(config.Inputs, config.Stem, 3, 2) };
        var (inputs, index, total) = (config.Stem, 0, config.Stages.Sum(s => s.Blocks));
        foreach (var stage in config.Stages)
        {
            var blocks = new List<Module>();
            for (var i = 0; i < stage.Blocks; i++, index++)
            {
                blocks.Add(new InvertedBottleneck(stage, inputs, i == 0 ? stage.Stride : 1, config.StochasticDepth * index / total));
                inputs = stage.Outputs;
            }
            parts.Add(new Sequential([.. blocks]));
        }
        parts.Add(InvertedBottleneck.Layer(inputs, 4 * inputs, 1));
        _features = Child("features", new Sequential([.. parts]));
        _mean = Child("avgpool", new GlobalAvgPool());
        var head = new Linear(4 * inputs, config.Outputs);
        Initialize.Uniform(head.Weight, 1 / Math.Sqrt(config.Outputs));
        Initialize.Uniform(head.Bias!, 0);
        _classifier = Child("classifier", new Sequential(new Dropout(config.Dropout), head));
    }

    /// <summary>[N, inputs, H, W] → logits [N, outputs].</summary>
    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        return scope.Return(_classifier.Forward(_mean.Forward(_features.Forward(x)).Flatten()));
    }
}

/// <summary>Widen 1×1, filter each channel, weigh the channels, narrow 1×1; plus the input where the shape stays.</summary>
internal sealed class InvertedBottleneck : Module
{
    private readonly Sequential _block;
    private readonly StochasticDepth? _branch;

    public override bool IsSegment => true;

    internal InvertedBottleneck(EfficientNetStage stage, int inputs, int stride, double drop)
    {
        var inner = inputs * stage.Expansion;
        var parts = new List<Module>();
        if (stage.Expansion != 1)
        {
            parts.Add(Layer(inputs, inner, 1));
        }
        parts.AddRange([Layer(inner, inner, stage.Kernel, stride, inner), new SqueezeExcite(inner, Math.Max(1, inputs / 4)), Layer(inner, stage.Outputs, 1, activation: false)]);
        _block = Child("block", new Sequential([.. parts]));
        _branch = stride == 1 && inputs == stage.Outputs ? Child("stochastic_depth", new StochasticDepth(drop)) : null;
    }

    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        var y = _block.Forward(x);
        return scope.Return(_branch is null ? y : _branch.Forward(y) + x);
    }

    /// <summary>Kernel, normalisation and, if wanted, SiLU.</summary>
    internal static Sequential Layer(int inputs, int outputs, int size, int stride = 1, int groups = 1, bool activation = true)
    {
        var kernel = new Conv2d(inputs, outputs, size, stride, size / 2, bias: false, groups: groups);
        Initialize.Normal(kernel.Weight, Math.Sqrt(2.0 * groups / ((long)outputs * size * size)));
        return activation ? new Sequential(kernel, new BatchNorm(outputs), new Activation(ActivationKind.Silu)) : new Sequential(kernel, new BatchNorm(outputs));
    }
}
