using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of an <see cref="LstmClassifier"/>.</summary>
public sealed record LstmConfig
{
    /// <summary>Tokens known, or features of a step where <see cref="Tokens"/> is false.</summary>
    public required int Inputs { get; init; }

    /// <summary>Whether the input is token ids, which get vectors first.</summary>
    public bool Tokens { get; init; } = true;

    /// <summary>Width of a token's vector.</summary>
    public int Width { get; init; } = 128;

    /// <summary>States of each direction.</summary>
    public int Hidden { get; init; } = 256;

    /// <summary>Layers.</summary>
    public int Layers { get; init; } = 2;

    /// <summary>Whether a second chain reads backwards.</summary>
    public bool Bidirectional { get; init; } = true;

    /// <summary>Width of the attention's inner layer.</summary>
    public int Attention { get; init; } = 128;

    /// <summary>Share of states dropped between layers and in front of the head while training.</summary>
    public double Dropout { get; init; }

    /// <summary>Classes, or 1 for regression.</summary>
    public required int Outputs { get; init; }
}

/// <summary>
/// Recurrent net whose steps are weighed by additive attention (Bahdanau et al., arXiv 1409.0473; the pooling of Yang et al., HAN 2016,
/// eq. 5-7): h = LSTM(x), a = softmax_t(v·tanh(W h_t)), y = head(Σ a_t h_t). Weights: <c>embedding</c>, <c>lstm</c> as in PyTorch,
/// <c>attention</c> (W), <c>context</c> (v), <c>head</c>.
/// </summary>
public sealed class LstmClassifier : Module
{
    private readonly Embedding? _embedding;
    private readonly Lstm _lstm;
    private readonly Linear _attention;
    private readonly Linear _context;
    private readonly Dropout _dropout;
    private readonly Linear _head;

    /// <summary>Draws initial weights.</summary>
    public LstmClassifier(LstmConfig config)
    {
        _embedding = config.Tokens ? Child("embedding", new Embedding(config.Inputs, config.Width)) : null;
        _lstm = Child("lstm", new Lstm(config.Tokens ? config.Width : config.Inputs, config.Hidden, config.Layers, config.Bidirectional, config.Dropout));
        _attention = Child("attention", new Linear(_lstm.Outputs, config.Attention));
        _context = Child("context", new Linear(config.Attention, 1, bias: false));
        _dropout = Child("dropout", new Dropout(config.Dropout));
        _head = Child("head", new Linear(_lstm.Outputs, config.Outputs));
    }

    /// <summary>int64 ids [N, T] (or features [N, T, inputs]) → logits [N, outputs].</summary>
    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        var states = _lstm.Forward(_embedding?.Forward(x) ?? x); // [N, T, H]
        var weights = _context.Forward(_attention.Forward(states).Tanh()).Softmax(1); // [N, T, 1]
        return scope.Return(_head.Forward(_dropout.Forward((states * weights).Sum(1))));
    }
}
