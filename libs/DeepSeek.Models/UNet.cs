using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of a <see cref="UNet"/>; the defaults are those of the paper with padded kernels: 31 037 698 weights.</summary>
public sealed record UNetConfig
{
    /// <summary>2 for images, 3 for volumes.</summary>
    public int Dimensions { get; init; } = 2;

    /// <summary>Channels of an image.</summary>
    public int Inputs { get; init; } = 3;

    /// <summary>Classes of a pixel.</summary>
    public int Outputs { get; init; } = 2;

    /// <summary>Channels of the first level; each level below has twice as many.</summary>
    public int Width { get; init; } = 64;

    /// <summary>Times the size is halved; each side must be a multiple of two to this power.</summary>
    public int Levels { get; init; } = 4;

    /// <summary>Groups of channels that are normalised together; 0 for normalisation over the batch.</summary>
    public int NormGroups { get; init; }
}

/// <summary>
/// U-Net (Ronneberger et al., arXiv 1505.04597; volumes: Çiçek et al., arXiv 1606.06650) with normalisation and same-size kernels. Weights are
/// named as in the common PyTorch version: <c>inc.double_conv.0</c>, <c>down1.maxpool_conv.1.double_conv.0</c>, <c>up1.up</c>, <c>up1.conv</c>, <c>outc.conv</c>.
/// </summary>
public sealed class UNet : Module
{
    private readonly int _multiple;
    private readonly Module _stem;
    private readonly Module[] _down;
    private readonly Module[] _widen;
    private readonly Module[] _join;
    private readonly Module _head;
    private readonly Tensor[] _kept; // the levels' outputs during a pass

    /// <summary>Draws initial weights.</summary>
    public UNet(UNetConfig config)
    {
        if (config.Dimensions is not (2 or 3))
        {
            throw new ArgumentException($"A U-Net has 2 or 3 dimensions, not {config.Dimensions}.", nameof(config));
        }
        var volumes = config.Dimensions == 3;
        _multiple = 1 << config.Levels;
        _stem = Child("inc.double_conv", Double(config, config.Inputs, config.Width));
        (_down, _widen, _join) = (new Module[config.Levels], new Module[config.Levels], new Module[config.Levels]);
        var channels = config.Width;
        for (var i = 0; i < config.Levels; i++, channels *= 2)
        {
            _down[i] = Child($"down{i + 1}.maxpool_conv.1.double_conv", Double(config, channels, 2 * channels));
        }
        for (var i = 0; i < config.Levels; i++, channels /= 2)
        {
            _widen[i] = Child<Module>($"up{i + 1}.up", volumes ? new ConvTranspose3d(channels, channels / 2, 2, 2) : new ConvTranspose2d(channels, channels / 2, 2, 2));
            _join[i] = Child($"up{i + 1}.conv.double_conv", Double(config, channels, channels / 2));
        }
        _kept = new Tensor[config.Levels];
        _head = Child<Module>("outc.conv", volumes ? new Conv3d(channels, config.Outputs, 1) : new Conv2d(channels, config.Outputs, 1));
    }

    /// <summary>[N, inputs, (D,) H, W] → logits of each pixel [N, outputs, (D,) H, W].</summary>
    /// <exception cref="ArgumentException">A side is no multiple of two to the power of the levels.</exception>
    protected override Tensor Compute(Tensor x)
    {
        for (var i = 2; i < x.Rank; i++)
        {
            if (x.Size(i) % _multiple != 0)
            {
                throw new ArgumentException($"Side {i - 2} is {x.Size(i)}; pad it to a multiple of {_multiple}.", nameof(x));
            }
        }
        using var scope = TensorScope.Open();
        x = _stem.Forward(x);
        for (var i = 0; i < _down.Length; i++)
        {
            _kept[i] = x;
            x = _down[i].Forward(Functional.MaxPool(x, 2, 2));
        }
        for (var i = 0; i < _join.Length; i++)
        {
            x = _join[i].Forward(Tensor.Cat([_kept[^(i + 1)], _widen[i].Forward(x)], 1));
        }
        return scope.Return(_head.Forward(x));
    }

    /// <summary>Twice kernel, normalisation and ReLU.</summary>
    private static Sequential Double(UNetConfig config, int inputs, int outputs)
    {
        return new Sequential(Kernel(inputs), Norm(), new Activation(ActivationKind.Relu), Kernel(outputs), Norm(), new Activation(ActivationKind.Relu));

        Module Kernel(int channels) => config.Dimensions == 3 ? new Conv3d(channels, outputs, 3, padding: 1, bias: false) : new Conv2d(channels, outputs, 3, padding: 1, bias: false);
        Module Norm() => config.NormGroups > 0 ? new GroupNorm(config.NormGroups, outputs) : new BatchNorm(outputs);
    }
}
