using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of a <see cref="Llama"/>; the defaults are TinyLlama's, 1 100 048 384 weights.</summary>
public sealed record LlamaConfig
{
    /// <summary>Tokens known.</summary>
    public int Vocabulary { get; init; } = 32000;

    /// <summary>Longest sequence, in tokens.</summary>
    public int Length { get; init; } = 2048;

    /// <summary>Width of the residual stream, a multiple of <see cref="Heads"/>.</summary>
    public int Width { get; init; } = 2048;

    /// <summary>Blocks.</summary>
    public int Layers { get; init; } = 22;

    /// <summary>Query heads.</summary>
    public int Heads { get; init; } = 32;

    /// <summary>Key and value heads, which divide <see cref="Heads"/>.</summary>
    public int KeyHeads { get; init; } = 4;

    /// <summary>Inner width of a block's gated perceptron.</summary>
    public int Inner { get; init; } = 5632;

    /// <summary>Longest period of the rotary positions, over 2π.</summary>
    public double Theta { get; init; } = 10_000;

    /// <summary>ε of the normalisations.</summary>
    public double Epsilon { get; init; } = 1e-5;

    /// <summary>Whether the head shares the token table.</summary>
    public bool Tied { get; init; }

    /// <summary>Attention to the key blocks that a policy picks; none: dense attention.</summary>
    public SparsePolicy? Sparse { get; init; }

    /// <summary>Llama 3.2 1B but for its stretched positions: 1 235 814 400 weights.</summary>
    public static LlamaConfig Llama1B { get; } = new() { Vocabulary = 128256, Length = 8192, Layers = 16, KeyHeads = 8, Inner = 8192, Theta = 500_000, Tied = true };
}

/// <summary>
/// Decoder with rotary positions (Su et al., arXiv 2104.09864), grouped queries (Ainslie et al., arXiv 2305.13245), RMS normalisation
/// and a SiLU-gated perceptron (Shazeer, arXiv 2002.05202), as Llama 2 and 3. Weights are named as in Hugging Face's LlamaForCausalLM
/// (<c>model.embed_tokens.weight</c>, <c>model.layers.0.self_attn.q_proj.weight</c>, <c>lm_head.weight</c> …).
/// </summary>
public sealed class Llama : Module
{
    private readonly Embedding _tokens;
    private readonly LlamaLayer[] _layers;
    private readonly RmsNorm _norm;
    private readonly TensorHandle _cosines;
    private readonly TensorHandle _sines;

    /// <summary>Draws initial weights from N(0, 0.02²).</summary>
    public Llama(LlamaConfig config)
    {
        Config = config;
        _tokens = Child("model.embed_tokens", new Embedding(config.Vocabulary, config.Width, LlamaLayer.Deviation));
        _layers = [.. Enumerable.Range(0, config.Layers).Select(i => Child($"model.layers.{i}", new LlamaLayer(config)))];
        _norm = Child("model.norm", new RmsNorm(config.Width, config.Epsilon));
        HeadWeight = config.Tied ? _tokens.Weight : Child("lm_head", LlamaLayer.Dense(config.Width, config.Vocabulary)).Weight;
        using var scope = TensorScope.Open();
        var (cosines, sines) = Rotary.Tables(0, config.Length, config.Width / config.Heads, config.Theta);
        (_cosines, _sines) = (Constant("cosines", Tensor.Cat([cosines, cosines], 1).Keep()), Constant("sines", Tensor.Cat([sines, sines], 1).Keep()));
    }

    /// <summary>Its sizes.</summary>
    public LlamaConfig Config { get; }

    /// <summary>The head's matrix: [vocabulary, width].</summary>
    public TensorHandle HeadWeight { get; }

    /// <summary>The sparse attention of each block, in order; empty when it is dense.</summary>
    public IReadOnlyList<DynamicSparseAttention> SparseLayers => [.. _layers.Select(layer => layer.Sparse).OfType<DynamicSparseAttention>()];

    /// <summary>Hidden states in front of the head: int64 ids [N, T] → [N, T, width].</summary>
    public Tensor Features(Tensor ids)
    {
        using var scope = TensorScope.Open();
        var length = ids.Size(1);
        var (cosines, sines) = (_cosines.Tensor.Narrow(0, 0, length), _sines.Tensor.Narrow(0, 0, length)); // [T, D]
        var x = _tokens.Forward(ids);
        var suits = Rotary.Suits(x);
        if (suits)
        {
            // The halves of the tables are alike; the operator takes one.
            var half = cosines.Size(1) / 2;
            (cosines, sines) = (cosines.Narrow(1, 0, half).Contiguous(), sines.Narrow(1, 0, half).Contiguous()); // [T, D/2]
        }
        if (suits && Training && !IsObserved)
        {
            return scope.Return(ResidualChain.Walk(new Links(this, cosines, sines), _layers[0].FirstNorm.Forward(x), x));
        }
        foreach (var layer in _layers)
        {
            x = layer.Forward(x, cosines, sines);
        }
        return scope.Return(_norm.Forward(x));
    }

    /// <summary>Mean cross entropy of the next token: int64 ids and targets [N, T] → one float32. All logits never exist together.</summary>
    public Tensor Loss(Tensor ids, Tensor targets)
    {
        using var scope = TensorScope.Open();
        return scope.Return(HeadLoss.Of(Features(ids).Reshape(-1, Config.Width), HeadWeight.Tensor, targets.Reshape(-1)));
    }

    // Each addition to the residual stream x is made together with the norm that follows it and gives y.
    private readonly struct Links(Llama net, Tensor cosines, Tensor sines) : IResidualLinks
    {
        public int Count => net._layers.Length;

        public (Tensor Normed, Tensor Sum) Pass(int index, Tensor normed, Tensor sum)
        {
            var (layer, next) = (net._layers[index], index + 1 < Count ? net._layers[index + 1].FirstNorm : net._norm);
            return layer.Recomputes ? Recomputed(layer, next, normed, sum, cosines, sines) : layer.Fused(normed, sum, next, cosines, sines);
        }
    }

    // Apart from the links, which then make no closure.
    private static (Tensor Normed, Tensor Sum) Recomputed(LlamaLayer layer, RmsNorm next, Tensor y, Tensor x, Tensor cosines, Tensor sines)
    {
        Span<Tensor> results = [default, default];
        Checkpoint.Run((inputs, outputs) => (outputs[0], outputs[1]) = layer.Fused(inputs[0], inputs[1], next, inputs[2], inputs[3]), [y, x, cosines, sines], results);
        return (results[0], results[1]);
    }

    /// <summary>int64 ids [N, T] → logits of the next token [N, T, vocabulary].</summary>
    protected override Tensor Compute(Tensor ids)
    {
        using var scope = TensorScope.Open();
        return scope.Return(Functional.Linear(Features(ids), HeadWeight.Tensor));
    }
}

/// <summary>x + attention(norm(x)), then x + gated perceptron(norm(x)).</summary>
internal sealed class LlamaLayer : Module
{
    internal const double Deviation = 0.02;

    private readonly int _heads;
    private readonly int _keyHeads;
    private readonly int _headWidth;
    private readonly Linear _query;
    private readonly Linear _key;
    private readonly Linear _value;
    private readonly Linear _join;
    private readonly RmsNorm _secondNorm;
    private readonly Linear _gate;
    private readonly Linear _widen;
    private readonly Linear _narrow;
    private Tensor _cosines; // of the pass at work
    private Tensor _sines;

    internal LlamaLayer(LlamaConfig config)
    {
        if (config.Width % config.Heads != 0 || config.Heads % config.KeyHeads != 0 || config.Width / config.Heads % 2 != 0)
        {
            throw new ArgumentException($"A width of {config.Width}, {config.Heads} heads and {config.KeyHeads} key heads do not divide evenly into heads of even width.", nameof(config));
        }
        (_heads, _keyHeads, _headWidth) = (config.Heads, config.KeyHeads, config.Width / config.Heads);
        Sparse = config.Sparse is { } policy ? new DynamicSparseAttention(policy) : null;
        FirstNorm = Child("input_layernorm", new RmsNorm(config.Width, config.Epsilon));
        _query = Child("self_attn.q_proj", Dense(config.Width, config.Width));
        _key = Child("self_attn.k_proj", Dense(config.Width, _keyHeads * _headWidth));
        _value = Child("self_attn.v_proj", Dense(config.Width, _keyHeads * _headWidth));
        _join = Child("self_attn.o_proj", Dense(config.Width, config.Width));
        _secondNorm = Child("post_attention_layernorm", new RmsNorm(config.Width, config.Epsilon));
        _gate = Child("mlp.gate_proj", Dense(config.Width, config.Inner));
        _widen = Child("mlp.up_proj", Dense(config.Width, config.Inner));
        _narrow = Child("mlp.down_proj", Dense(config.Inner, config.Width));
    }

    internal RmsNorm FirstNorm { get; }

    internal DynamicSparseAttention? Sparse { get; }

    /// <summary>With the angles of each place: [T, D/2] each, or [T, D] with the second half as the first for plain operators.</summary>
    internal Tensor Forward(Tensor x, Tensor cosines, Tensor sines)
    {
        if (!Recomputes)
        {
            return With(x, cosines, sines);
        }
        Span<Tensor> results = [default];
        Checkpoint.Run((inputs, outputs) => outputs[0] = With(inputs[0], inputs[1], inputs[2]), [x, cosines, sines], results);
        return results[0];
    }

    /// <summary>From the normed stream y and the stream x: the stream behind this layer, and what the next layer's norm makes of it.</summary>
    internal (Tensor Normed, Tensor Sum) Fused(Tensor y, Tensor x, RmsNorm next, Tensor cosines, Tensor sines)
    {
        (_cosines, _sines) = (cosines, sines);
        (y, x) = _secondNorm.AddForward(Attend(y), x);
        return next.AddForward(Gated(y), x);
    }

    public override bool IsSegment => true;

    private Tensor With(Tensor x, Tensor cosines, Tensor sines)
    {
        (_cosines, _sines) = (cosines, sines);
        return Pass(x);
    }

    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        (var normed, x) = _secondNorm.AddForward(Attend(FirstNorm.Forward(x)), x);
        return scope.Return(x + Gated(normed));
    }

    private Tensor Attend(Tensor y)
    {
        var (n, length, width) = (y.Size(0), y.Size(1), y.Size(2));
        var query = Rotate(Heads(_query.Forward(y), _heads)); // [N, H, T, D]
        var key = Rotate(Heads(_key.Forward(y), _keyHeads)); // [N, K, T, D]
        var value = Heads(_value.Forward(y), _keyHeads);
        var seen = Sparse is not null ? Sparse.Forward(query, key, value, causal: true) : Functional.Attention(query, key, value, causal: true);
        return _join.Forward(seen.Transpose(1, 2).Reshape(n, length, width));

        Tensor Heads(Tensor z, int heads) => z.Reshape(n, length, heads, _headWidth).Transpose(1, 2);
    }

    private Tensor Gated(Tensor y) => _narrow.Forward(FusedActivations.Gated(_gate.Forward(y), _widen.Forward(y)));

    // Pairs (i, i + D/2) turn by their angle, in float32 at least.
    private Tensor Rotate(Tensor z)
    {
        var half = _headWidth / 2;
        if (_cosines.Size(1) == half)
        {
            return Rotary.Apply(z, _cosines, _sines);
        }
        var turned = Tensor.Cat([-z.Narrow(-1, half, half), z.Narrow(-1, 0, half)], -1);
        return (z * _cosines + turned * _sines).To(z.Dtype);
    }

    internal static Linear Dense(int inputs, int outputs)
    {
        var linear = new Linear(inputs, outputs, bias: false);
        Initialize.Normal(linear.Weight, Deviation);
        return linear;
    }
}
