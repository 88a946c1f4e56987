using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of a <see cref="ResNet"/>.</summary>
public sealed record ResNetConfig
{
    /// <summary>Blocks of each stage; every stage but the first halves height and width and doubles the channels.</summary>
    public required IReadOnlyList<int> Blocks { get; init; }

    /// <summary>Blocks of 1×1, 3×3 and 1×1 kernels that give four times their inner channels, instead of two 3×3 kernels.</summary>
    public bool Bottleneck { get; init; }

    /// <summary>Inner channels of the first stage.</summary>
    public int Width { get; init; } = 64;

    /// <summary>Channels of an image.</summary>
    public int Inputs { get; init; } = 3;

    /// <summary>Classes.</summary>
    public int Outputs { get; init; } = 1000;

    /// <summary>ResNet-18: 11 689 512 weights.</summary>
    public static ResNetConfig ResNet18 { get; } = new() { Blocks = [2, 2, 2, 2] };

    /// <summary>ResNet-50: 25 557 032 weights.</summary>
    public static ResNetConfig ResNet50 { get; } = new() { Blocks = [3, 4, 6, 3], Bottleneck = true };
}

/// <summary>
/// Residual net (He et al., arXiv 1512.03385) with the stride in the 3×3 kernel of a bottleneck, weights named as torchvision names
/// them (<c>conv1.weight</c>, <c>layer1.0.bn1.weight</c>, <c>layer2.0.downsample.0.weight</c>, <c>fc.bias</c> …).
/// </summary>
public sealed class ResNet : Module
{
    private readonly Conv2d _stem;
    private readonly BatchNorm _stemNorm;
    private readonly MaxPool _pool;
    private readonly ResNetBlock[] _blocks;
    private readonly GlobalAvgPool _mean;
    private readonly Linear _head;

    /// <summary>Draws initial weights: kernels N(0, 2/(outputs·k²)), He et al. (arXiv 1502.01852).</summary>
    public ResNet(ResNetConfig config)
    {
        _stem = Child("conv1", ResNetBlock.Kernel(config.Inputs, config.Width, 7, 2));
        _stemNorm = Child("bn1", new BatchNorm(config.Width));
        _pool = Child("maxpool", new MaxPool(3, 2, 1));
        var blocks = new List<ResNetBlock>();
        var (inputs, width) = (config.Width, config.Width);
        for (var stage = 0; stage < config.Blocks.Count; stage++, width *= 2)
        {
            for (var i = 0; i < config.Blocks[stage]; i++)
            {
                var block = Child($"layer{stage + 1}.{i}", new ResNetBlock(inputs, width, stage > 0 && i == 0 ? 2 : 1, config.Bottleneck));
                blocks.Add(block);
                inputs = block.Outputs;
            }
        }
        _blocks = [.. blocks];
        _mean = Child("avgpool", new GlobalAvgPool());
        _head = Child("fc", new Linear(inputs, config.Outputs));
    }

    /// <summary>[N, inputs, H, W] → logits [N, outputs].</summary>
    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        x = _pool.Forward(_stemNorm.Forward(_stem.Forward(x), default, relu: true)); // [N, width, H/4, W/4]
        Tensor shortcut = default;
        foreach (var block in _blocks)
        {
            (x, shortcut) = block.Forward(x, shortcut);
        }
        return scope.Return(_head.Forward(_mean.Forward(x).Flatten()));
    }
}

/// <summary>σ(body(x) + x), where x is brought to the body's shape by a 1×1 kernel if need be.</summary>
internal sealed class ResNetBlock : Module
{
    private readonly Conv2d[] _kernels;
    private readonly BatchNorm[] _norms;
    private readonly Sequential? _shortcut;

    internal ResNetBlock(int inputs, int width, int stride, bool bottleneck)
    {
        Outputs = bottleneck ? 4 * width : width;
        (int Outputs, int Size, int Stride)[] plan = bottleneck ? [(width, 1, 1), (width, 3, stride), (Outputs, 1, 1)] : [(width, 3, stride), (width, 3, 1)];
        (_kernels, _norms) = (new Conv2d[plan.Length], new BatchNorm[plan.Length]);
        var channels = inputs;
        for (var i = 0; i < plan.Length; i++)
        {
            _kernels[i] = Child($"conv{i + 1}", Kernel(channels, plan[i].Outputs, plan[i].Size, plan[i].Stride));
            _norms[i] = Child($"bn{i + 1}", new BatchNorm(plan[i].Outputs));
            channels = plan[i].Outputs;
        }
        if (stride != 1 || inputs != Outputs)
        {
            _shortcut = Child("downsample", new Sequential(Kernel(inputs, Outputs, 1, stride), new BatchNorm(Outputs)));
        }
    }

    internal int Outputs { get; }

    public override bool IsSegment => true;

    /// <summary>
    /// From the input to the output, each as two tensors of the same numbers, one for the body and one for the shortcut, whose gradients the norms add as they
    /// read them; a shortcut that is none is the body's tensor.
    /// </summary>
    internal (Tensor Body, Tensor Shortcut) Forward(Tensor body, Tensor shortcut)
    {
        if (Recomputes || IsObserved)
        {
            return (Forward(body), default);
        }
        using var range = EnterTrace();
        using var scope = TensorScope.Open();
        shortcut = shortcut.IsNone ? body : shortcut;
        var (first, second) = _norms[^1].Fork(Body(body), _shortcut?.Forward(shortcut) ?? shortcut);
        return (scope.Return(first), second.IsNone ? second : scope.Return(second));
    }

    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        return scope.Return(_norms[^1].Forward(Body(x), _shortcut?.Forward(x) ?? x, relu: true));
    }

    // Up to the last kernel, whose norm takes the shortcut.
    private Tensor Body(Tensor x)
    {
        for (var i = 0; i < _kernels.Length - 1; i++)
        {
            x = _norms[i].Forward(_kernels[i].Forward(x), default, relu: true);
        }
        return _kernels[^1].Forward(x);
    }

    internal static Conv2d Kernel(int inputs, int outputs, int size, int stride)
    {
        var kernel = new Conv2d(inputs, outputs, size, stride, size / 2, bias: false);
        Initialize.Normal(kernel.Weight, Math.Sqrt(2.0 / ((long)outputs * size * size)));
        return kernel;
    }
}
