using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Normalisation in front of a block.</summary>
public enum NormKind
{
    /// <summary>None.</summary>
    None = 1,
    /// <summary>Over the batch.</summary>
    Batch = 2,
    /// <summary>Over the features.</summary>
    Layer = 3,
}

/// <summary>Sizes of a <see cref="TabularMlp"/>.</summary>
public sealed record TabularMlpConfig
{
    /// <summary>Features of a row.</summary>
    public required int Inputs { get; init; }

    /// <summary>Classes, or 1 for regression.</summary>
    public required int Outputs { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public int Width { get; init; } = 128;

    /// <summary>Residual blocks.</summary>
    public int Blocks { get; init; } = 2;

    /// <summary>Hidden width of a block as a multiple of <see cref="Width"/>.</summary>
    public double Expansion { get; init; } = 2;

    /// <summary>Share of hidden values dropped while training.</summary>
    public double Dropout { get; init; } = 0.1;

    /// <summary>Normalisation in front of each block and of the head.</summary>
    public NormKind Normalization { get; init; } = NormKind.Batch;

    /// <summary>Non-linearity.</summary>
    public ActivationKind Activation { get; init; } = ActivationKind.Relu;
}

/// <summary>
/// Residual perceptron for tables, the "ResNet" of Gorishniy et al. (arXiv 2106.11959, section 3.2):
/// a linear stem, blocks x + Linear(Dropout(σ(Linear(Norm(x))))), and a head Linear(σ(Norm(x))).
/// </summary>
public sealed class TabularMlp : Module
{
    private readonly Sequential _net;

    /// <summary>Draws initial weights.</summary>
    public TabularMlp(TabularMlpConfig config)
    {
        var hidden = Math.Max(1, (int)Math.Round(config.Width * config.Expansion));
        var parts = new List<Module> { new Linear(config.Inputs, config.Width) };
        for (var i = 0; i < config.Blocks; i++)
        {
            parts.Add(new Residual(new Sequential(
                [.. Norm(config), new Linear(config.Width, hidden), new Activation(config.Activation), new Dropout(config.Dropout), new Linear(hidden, config.Width)])));
        }
        parts.AddRange([.. Norm(config), new Activation(config.Activation), new Linear(config.Width, config.Outputs)]);
        _net = Child("net", new Sequential([.. parts]));
    }

    /// <summary>[N, inputs] → logits [N, outputs].</summary>
    protected override Tensor Compute(Tensor x) => _net.Forward(x);

    private static Module[] Norm(TabularMlpConfig config) => config.Normalization switch
    {
        NormKind.Batch => [new BatchNorm(config.Width)],
        NormKind.Layer => [new LayerNorm(config.Width)],
        _ => [],
    };
}
