using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of a <see cref="ConvNet"/>.</summary>
public sealed record ConvNetConfig
{
    /// <summary>Channels of an image.</summary>
    public required int Inputs { get; init; }

    /// <summary>Pixels from top to bottom.</summary>
    public required int Height { get; init; }

    /// <summary>Pixels from left to right.</summary>
    public required int Width { get; init; }

    /// <summary>Classes.</summary>
    public required int Outputs { get; init; }

    /// <summary>Output channels of each stage; a stage halves height and width.</summary>
    public IReadOnlyList<int> Channels { get; init; } = [32, 64];

    /// <summary>Width of the hidden layer before the classes.</summary>
    public int Hidden { get; init; } = 128;

    /// <summary>Share of hidden values dropped while training.</summary>
    public double Dropout { get; init; } = 0.25;

    /// <summary>Non-linearity.</summary>
    public ActivationKind Activation { get; init; } = ActivationKind.Relu;
}

/// <summary>
/// Convolutional net in the manner of LeCun et al. (Proc. IEEE 1998) with batch normalisation: stages σ(MaxPool(Norm(Conv3×3))),
/// then a hidden layer with dropout and the classes.
/// </summary>
public sealed class ConvNet : Module
{
    private readonly Sequential _net;

    /// <summary>Draws initial weights.</summary>
    /// <exception cref="ArgumentException">The image is too small for so many stages.</exception>
    public ConvNet(ConvNetConfig config)
    {
        var (inputs, height, width) = (config.Inputs, config.Height, config.Width);
        var parts = new List<Module>();
        foreach (var outputs in config.Channels)
        {
            (height, width) = (height / 2, width / 2);
            if (height == 0 || width == 0)
            {
                throw new ArgumentException($"An image of {config.Height}×{config.Width} pixels cannot be halved {config.Channels.Count} times.", nameof(config));
            }
            // The non-linearity comes after pooling, where it has a quarter of the work.
            parts.AddRange([new Conv2d(inputs, outputs, 3, padding: 1, bias: false), new BatchNorm(outputs), new MaxPool(2, 2), new Activation(config.Activation)]);
            inputs = outputs;
        }
        parts.AddRange(
        [
            new Flatten(), new Linear(inputs * height * width, config.Hidden), new Activation(config.Activation),
            new Dropout(config.Dropout), new Linear(config.Hidden, config.Outputs),
        ]);
        _net = Child("net", new Sequential([.. parts]));
    }

    /// <summary>[N, C, H, W] → logits [N, outputs].</summary>
    protected override Tensor Compute(Tensor x) => _net.Forward(x);
}
