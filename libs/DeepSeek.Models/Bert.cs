using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of a <see cref="Bert"/>; the defaults are BERT base's (uncased), 109 482 240 weights with the pooler.</summary>
public sealed record BertConfig
{
    /// <summary>Tokens known.</summary>
    public int Vocabulary { get; init; } = 30522;

    /// <summary>Longest sequence, in tokens.</summary>
    public int Length { get; init; } = 512;

    /// <summary>The token that fills up short sequences; it is never learned.</summary>
    public int Padding { get; init; }

    /// <summary>Kinds of segments.</summary>
    public int Segments { get; init; } = 2;

    /// <summary>Width of the residual stream, a multiple of <see cref="Heads"/>.</summary>
    public int Width { get; init; } = 768;

    /// <summary>Blocks.</summary>
    public int Layers { get; init; } = 12;

    /// <summary>Attention heads.</summary>
    public int Heads { get; init; } = 12;

    /// <summary>Inner width of a block's perceptron.</summary>
    public int Inner { get; init; } = 3072;

    /// <summary>Share of values dropped while training.</summary>
    public double Dropout { get; init; } = 0.1;

    /// <summary>Attention to the key blocks that a policy picks, whose weights are never dropped; padding must then be at the end. None: dense attention.</summary>
    public SparsePolicy? Sparse { get; init; }
}

/// <summary>
/// BERT (Devlin et al., arXiv 1810.04805): an encoder with learned positions and segments, normalisation behind each branch and a pooler
/// over the first token. Weights are named as in Hugging Face's BertModel (<c>encoder.layer.0.attention.self.query.weight</c> …).
/// </summary>
public sealed class Bert : Module
{
    private readonly Embedding _words;
    private readonly Embedding _positions;
    private readonly Embedding _segments;
    private readonly LayerNorm _norm;
    private readonly Dropout _dropout;
    private readonly BertLayer[] _layers;
    private readonly Linear _pooler;
    private readonly bool _sparse;

    /// <summary>Draws initial weights from N(0, 0.02²).</summary>
    public Bert(BertConfig config)
    {
        _sparse = config.Sparse is not null;
        _words = Child("embeddings.word_embeddings", new Embedding(config.Vocabulary, config.Width, BertLayer.Deviation, config.Padding));
        _positions = Child("embeddings.position_embeddings", new Embedding(config.Length, config.Width, BertLayer.Deviation));
        _segments = Child("embeddings.token_type_embeddings", new Embedding(config.Segments, config.Width, BertLayer.Deviation));
        _norm = Child("embeddings.LayerNorm", new LayerNorm(config.Width, BertLayer.Epsilon));
        _dropout = Child("embeddings.dropout", new Dropout(config.Dropout));
        _layers = [.. Enumerable.Range(0, config.Layers).Select(i => Child($"encoder.layer.{i}", new BertLayer(config)))];
        _pooler = Child("pooler.dense", BertLayer.Dense(config.Width, config.Width));
    }

    /// <summary>Hidden states: int64 ids and segments [N, T] (none: all of segment 0), mask [N, T] of 1 for tokens and 0 for padding (none: no padding) → [N, T, width].</summary>
    public Tensor Encode(Tensor ids, Tensor segments = default, Tensor mask = default)
    {
        using var scope = TensorScope.Open();
        var x = _words.Forward(ids) + (segments.IsNone ? _segments.Weight.Tensor.Narrow(0, 0, 1) : _segments.Forward(segments));
        x = _dropout.Forward(_norm.Forward(x + _positions.Weight.Tensor.Narrow(0, 0, ids.Size(1)))); // [N, T, width]
        var hidden = mask.IsNone ? default : ((mask.To(Dtype.Float32) - 1) * Masked).Unsqueeze(1).Unsqueeze(1); // [N, 1, 1, T]
        var lengths = mask.IsNone || !_sparse ? default : mask.To(Dtype.Int32).Sum(1).To(Dtype.Int32); // [N]
        foreach (var layer in _layers)
        {
            x = layer.Forward(x, hidden, lengths);
        }
        return scope.Return(x);
    }

    /// <summary>The sparse attention of each layer, in order; empty when it is dense.</summary>
    public IReadOnlyList<DynamicSparseAttention> SparseLayers => [.. _layers.Select(layer => layer.Sparse).OfType<DynamicSparseAttention>()];

    /// <summary>tanh of a linear layer over the first token's state: [N, T, width] → [N, width].</summary>
    public Tensor Pool(Tensor states)
    {
        using var scope = TensorScope.Open();
        return scope.Return(_pooler.Forward(states.Narrow(1, 0, 1).Squeeze(1)).Tanh());
    }

    /// <summary>int64 ids [N, T] → the pooled states [N, width].</summary>
    protected override Tensor Compute(Tensor ids)
    {
        using var scope = TensorScope.Open();
        return scope.Return(Pool(Encode(ids)));
    }

    // Added to scores of padding: far below any real score, and finite in every format but half precision, where -∞ does as well.
    private const double Masked = 1e9;
}

/// <summary>BERT with classes over the pooled state: <c>bert</c> and <c>classifier</c>, as BertForSequenceClassification.</summary>
public sealed class BertClassifier : Module
{
    private readonly Bert _bert;
    private readonly Dropout _dropout;
    private readonly Linear _classifier;

    /// <summary>Draws initial weights.</summary>
    public BertClassifier(BertConfig config, int classes)
    {
        _bert = Child("bert", new Bert(config));
        _dropout = Child("dropout", new Dropout(config.Dropout));
        _classifier = Child("classifier", BertLayer.Dense(config.Width, classes));
    }

    /// <summary>Inputs as of <see cref="Bert.Encode"/> → logits [N, classes].</summary>
    public Tensor Classify(Tensor ids, Tensor segments = default, Tensor mask = default)
    {
        using var scope = TensorScope.Open();
        return scope.Return(_classifier.Forward(_dropout.Forward(_bert.Pool(_bert.Encode(ids, segments, mask)))));
    }

    /// <summary>int64 ids [N, T] → logits [N, classes].</summary>
    protected override Tensor Compute(Tensor ids) => Classify(ids);
}

/// <summary>norm(x + attention(x)), then norm(x + mlp(x)).</summary>
internal sealed class BertLayer : Module
{
    internal const double Deviation = 0.02;
    internal const double Epsilon = 1e-12;

    private readonly int _heads;
    private readonly Linear _query;
    private readonly Linear _key;
    private readonly Linear _value;
    private readonly Linear _join;
    private readonly LayerNorm _attentionNorm;
    private readonly Linear _widen;
    private readonly Linear _narrow;
    private readonly LayerNorm _norm;
    private readonly Dropout _dropout;
    private readonly double _weightDropout;
    private Tensor _mask; // of the pass at work
    private Tensor _lengths;

    internal BertLayer(BertConfig config)
    {
        _heads = config.Width % config.Heads == 0 ? config.Heads : throw new ArgumentException($"{config.Heads} heads do not divide a width of {config.Width}.", nameof(config));
        _weightDropout = config.Dropout;
        Sparse = config.Sparse is { } policy ? new DynamicSparseAttention(policy) : null;
        _query = Child("attention.self.query", Dense(config.Width, config.Width));
        _key = Child("attention.self.key", Dense(config.Width, config.Width));
        _value = Child("attention.self.value", Dense(config.Width, config.Width));
        _join = Child("attention.output.dense", Dense(config.Width, config.Width));
        _attentionNorm = Child("attention.output.LayerNorm", new LayerNorm(config.Width, Epsilon));
        _widen = Child("intermediate.dense", Dense(config.Width, config.Inner));
        _narrow = Child("output.dense", Dense(config.Inner, config.Width));
        _norm = Child("output.LayerNorm", new LayerNorm(config.Width, Epsilon));
        _dropout = Child("output.dropout", new Dropout(config.Dropout));
    }

    internal DynamicSparseAttention? Sparse { get; }

    /// <summary>With a mask that is added to the scores, or none, and the lengths that say the same.</summary>
    internal Tensor Forward(Tensor x, Tensor mask, Tensor lengths)
    {
        if (!Recomputes)
        {
            return With(x, mask, lengths);
        }
        Span<Tensor> results = [default];
        Checkpoint.Run((inputs, outputs) => outputs[0] = With(inputs[0], inputs[1], inputs[2]), [x, mask, lengths], results);
        return results[0];
    }

    public override bool IsSegment => true;

    private Tensor With(Tensor x, Tensor mask, Tensor lengths)
    {
        (_mask, _lengths) = (mask, lengths);
        return Pass(x);
    }

    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        var (n, length, width) = (x.Size(0), x.Size(1), x.Size(2));
        var (q, k, v) = (Heads(_query.Forward(x)), Heads(_key.Forward(x)), Heads(_value.Forward(x)));
        var y = Sparse is not null ? Sparse.Forward(q, k, v, causal: false, _lengths) : Functional.Attention(q, k, v, _mask, dropout: Training ? _weightDropout : 0);
        y = _join.Forward(y.Transpose(1, 2).Reshape(n, length, width));
        x = Joined(_attentionNorm, y, x);
        return scope.Return(Joined(_norm, _narrow.Forward(_widen.ForwardGelu(x)), x));

        // The norm's result is the stream here: under autocast it stays float32, as the stream is.
        Tensor Joined(LayerNorm norm, Tensor branch, Tensor stream) => norm.AddForward(branch.To(stream.Dtype), stream, default, _dropout).Y;

        Tensor Heads(Tensor z) => z.Reshape(n, length, _heads, width / _heads).Transpose(1, 2); // [N, H, T, D]
    }

    internal static Linear Dense(int inputs, int outputs)
    {
        var linear = new Linear(inputs, outputs);
        Initialize.Normal(linear.Weight, Deviation);
        Initialize.Uniform(linear.Bias!, 0);
        return linear;
    }
}
