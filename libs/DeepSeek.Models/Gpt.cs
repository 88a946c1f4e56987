using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>Sizes of a <see cref="Gpt"/>; the defaults are GPT-2's smallest, 124 439 808 weights.</summary>
public sealed record GptConfig
{
    /// <summary>Tokens known; 50304 is faster to train, being a multiple of 128.</summary>
    public int Vocabulary { get; init; } = 50257;

    /// <summary>Longest sequence, in tokens.</summary>
    public int Length { get; init; } = 1024;

    /// <summary>Width of the residual stream, a multiple of <see cref="Heads"/>.</summary>
    public int Width { get; init; } = 768;

    /// <summary>Blocks.</summary>
    public int Layers { get; init; } = 12;

    /// <summary>Attention heads.</summary>
    public int Heads { get; init; } = 12;

    /// <summary>Share of values dropped while training, in the embedding, the attention weights and the branches.</summary>
    public double Dropout { get; init; }

    /// <summary>
    /// Keeps the residual stream float32 when the weights are half precision: each block then adds to an unrounded sum, as under autocast,
    /// for twice the stream's memory.
    /// </summary>
    public bool Float32Residual { get; init; }

    /// <summary>Rows of the head whose logits exist together; by itself 16384, and 4096 where a block is computed again.</summary>
    public int? HeadRows { get; init; }

    /// <summary>Attention to the key blocks that a policy picks, whose weights are never dropped; none: dense attention.</summary>
    public SparsePolicy? Sparse { get; init; }

    /// <summary>Dimensions in which a learned gate compares the blocks of <see cref="Sparse"/> in place of the policy's estimate, which it learns from; none: no gate.</summary>
    public int? GateWidth { get; init; }

    /// <summary>Attention to the tokens that a learned indexer picks; not together with <see cref="Sparse"/>.</summary>
    public TokenSparsePolicy? TokenSparse { get; init; }
}

/// <summary>
/// GPT-2 (Radford et al., 2019): a decoder with learned positions, normalisation in front of each branch and a head that shares the
/// token table. Weights have the names and shapes of Hugging Face's GPT2Model (<c>wte.weight</c>, <c>h.0.attn.c_attn.weight</c> [in, out] …).
/// </summary>
public sealed partial class Gpt : Module, ICachedDecoder
{
    // Of logits at once; where memory is saved, no more than a block takes that is computed again.
    private const int DefaultRows = 16384;
    private const int SparingRows = 4096;

    private readonly Embedding _tokens;
    private readonly Embedding _positions;
    private readonly Dropout _dropout;
    private readonly GptBlock[] _blocks;
    private readonly LayerNorm _norm;

    /// <summary>Draws initial weights as GPT-2 does: N(0, 0.02²), the branches' last layers by √(2·layers) smaller.</summary>
    public Gpt(GptConfig config)
    {
        Config = config;
        _tokens = Child("wte", new Embedding(config.Vocabulary, config.Width, GptBlock.Deviation));
        _positions = Child("wpe", new Embedding(config.Length, config.Width, GptBlock.Deviation));
        _dropout = Child("drop", new Dropout(config.Dropout));
        _blocks = [.. Enumerable.Range(0, config.Layers).Select(i => Child($"h.{i}", new GptBlock(config)))];
        _norm = Child("ln_f", new LayerNorm(config.Width));
    }

    /// <summary>Its sizes.</summary>
    public GptConfig Config { get; }

    /// <summary>The head's matrix, which is the token table: [vocabulary, width].</summary>
    public TensorHandle HeadWeight => _tokens.Weight;

    /// <summary>The sparse attention of each block, in order; empty when it is dense.</summary>
    public IReadOnlyList<DynamicSparseAttention> SparseLayers => [.. _blocks.Select(block => block.Attention.Sparse).OfType<DynamicSparseAttention>()];

    /// <summary>The token-sparse attention of each block, in order; empty when it is not.</summary>
    public IReadOnlyList<TokenSparseAttention> TokenSparseLayers => [.. _blocks.Select(block => block.Attention.TokenSparse).OfType<TokenSparseAttention>()];

    /// <summary>Whether what its attention attends to is chosen by weights that learn from <see cref="ChoiceLoss"/>: indexers or gates.</summary>
    public bool LearnsToChoose => Config.TokenSparse is not null || Config.GateWidth is not null;

    /// <summary>The sum of the losses of the indexers, or of the gates, of the last training pass (one float32), given away once; add it to <see cref="Loss"/>.</summary>
    /// <exception cref="InvalidOperationException">Nothing in this net learns to choose, or there was no pass in training since the last call.</exception>
    public Tensor ChoiceLoss()
    {
        if (!LearnsToChoose)
        {
            throw new InvalidOperationException("Nothing in this net learns to choose: set GptConfig.TokenSparse, or Sparse with a GateWidth.");
        }
        using var scope = TensorScope.Open();
        return scope.Return(TokenSparseLayers.Select(layer => layer.TakeLoss()).Concat(SparseLayers.Select(layer => layer.TakeLoss())).Aggregate((sum, loss) => sum + loss));
    }

    /// <summary>An empty cache for N sequences of up to so many tokens (at most the net's length); the net's attention must be token-sparse.</summary>
    public GptCache Cache(long sequences, int? capacity = null)
    {
        if (Config.TokenSparse is null)
        {
            throw new InvalidOperationException("Only token-sparse attention keeps a cache: set GptConfig.TokenSparse.");
        }
        return new([.. TokenSparseLayers.Select(layer => layer.Cache(sequences, Config.Heads, Config.Width / Config.Heads, capacity ?? Config.Length, HeadWeight.Tensor.Dtype))]);
    }

    /// <summary>Logits after each of T further tokens of the cached sequences: int64 ids [N, T] → [N, T, vocabulary]. Prefill and decode alike.</summary>
    public Tensor Extend(Tensor ids, GptCache cache)
    {
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var x = Embedded(ids, cache.Length);
        return scope.Return(Functional.Linear(FusedBlocks(x, cache), HeadWeight.Tensor));
    }

    /// <summary>Hidden states in front of the head: int64 ids [N, T] → [N, T, width].</summary>
    public Tensor Features(Tensor ids)
    {
        using var scope = TensorScope.Open();
        var x = _dropout.Forward(Embedded(ids, 0));
        if (Config.Float32Residual || (Training && !Array.Exists(_blocks, b => b.IsWatched)))
        {
            return scope.Return(FusedBlocks(x));
        }
        foreach (var block in _blocks)
        {
            x = block.Forward(x);
        }
        return scope.Return(_norm.Forward(x));
    }

    /// <summary>Mean cross entropy of the next token: int64 ids and targets [N, T] → one float32. All logits never exist together.</summary>
    public Tensor Loss(Tensor ids, Tensor targets)
    {
        using var scope = TensorScope.Open();
        var features = Features(ids).Reshape(-1, Config.Width);
        return scope.Return(HeadLoss.Of(features, HeadWeight.Tensor, targets.Reshape(-1), Config.HeadRows ?? (Array.Exists(_blocks, b => b.Recomputes) ? SparingRows : DefaultRows)));
    }

    // [N, T, width].
    private Tensor Embedded(Tensor ids, long from)
    {
        using var scope = TensorScope.Open();
        return scope.Return(_tokens.Forward(ids) + _positions.Weight.Tensor.Narrow(0, from, ids.Size(1)));
    }

    private Tensor FusedBlocks(Tensor x, GptCache? cache = null)
    {
        var (y, split) = _blocks[0].FirstNorm.Split(x);
        return ResidualChain.Walk(new Links(this, cache), y, Config.Float32Residual ? split.To(Dtype.Float32) : split);
    }

    // Each addition to the residual stream x is made together with the norm that follows it and gives y, of the weights' type.
    private readonly struct Links(Gpt net, GptCache? cache) : IResidualLinks
    {
        public int Count => net._blocks.Length;

        public (Tensor Normed, Tensor Sum) Pass(int index, Tensor normed, Tensor sum)
        {
            var (block, following) = (net._blocks[index], index + 1 < Count ? net._blocks[index + 1] : null);
            var next = following?.FirstNorm ?? net._norm;
            if (!block.Recomputes || cache is not null)
            {
                return Fused(block, next, normed, sum, cache?.Layers[index]);
            }
            var made = Recomputed(block, next, normed, sum);
            return following is { Recomputes: true } ? made : Normed(next, made.Sum, normed.Dtype);
        }
    }

    // Apart from the links, which then make no closure. Of the block its input stays, and of its Keepables the first ones; y serves the
    // next such block alone, which takes its own norm again: it carries no gradient.
    private static (Tensor Normed, Tensor Sum) Recomputed(GptBlock block, LayerNorm next, Tensor y, Tensor x)
    {
        Span<Tensor> made = [default, default, default, default, default, default, default];
        var type = y.Dtype;
        Checkpoint.Run(
            (inputs, outputs) => (outputs[1], outputs[0]) = Fused(block, next, y, inputs[0], null, outputs[2..]),
            (inputs, kept, addends) => Again(block, next, inputs[0], type, kept, addends), [x], made, results: 1, kept: made.Length - 2);
        return (made[1], made[0]);
    }

    private static void Again(GptBlock block, LayerNorm next, Tensor x, Dtype type, ReadOnlySpan<Tensor> kept, Span<Tensor> addends)
    {
        (var y, x) = Normed(block.FirstNorm, x, type);
        var middle = kept[^1];
        var attended = block.Attention.OpenAgain(y, x.Dtype == Dtype.Float32, kept, value: middle.IsNone);
        (y, x) = middle.IsNone ? block.SecondNorm.AddForward(attended.Value, x, attended.Bias, attended.Dropout)
            : Normed(block.SecondNorm, Checkpoint.KnownSum(middle, attended.Value, x), type);
        if (block.AddsPlainly)
        {
            // The sum itself is not wanted, nor the last product's value.
            (addends[0], addends[1]) = (x, block.GradientOfBranch(y));
            return;
        }
        var widened = block.Open(y, x.Dtype == Dtype.Float32);
        (_, addends[0]) = next.AddForward(widened.Value, x, widened.Bias, widened.Dropout);
    }

    private static (Tensor Normed, Tensor X) Normed(LayerNorm norm, Tensor x, Dtype type)
    {
        var (y, z) = norm.Split(x);
        return (y.To(type), z);
    }

    // The norms add the branches' last biases where the stream is float32. To a half-precision stream a bias far below its rounding would be
    // added as ties are broken, always in the bias's direction and by more than the bias; inside the product it is smoothed by what it is added to.
    private static (Tensor Normed, Tensor Sum) Fused(GptBlock block, LayerNorm next, Tensor y, Tensor x, TokenSparseCache? cache = null, Span<Tensor> kept = default)
    {
        var late = x.Dtype == Dtype.Float32;
        var attended = cache is not null ? new OpenBranch(block.Attention.Extend(y, cache), default, null) : block.Attention.Open(y, late, block.Keeps > 0 ? kept : default);
        (y, x) = block.SecondNorm.AddForward(attended.Value, x, attended.Bias, attended.Dropout);
        if (kept.Length > 0 && block.Keeps > 1 && attended.IsPlain)
        {
            kept[^1] = x;
        }
        var widened = block.Open(y, late);
        return next.AddForward(widened.Value, x, widened.Bias, widened.Dropout);
    }

    /// <summary>int64 ids [N, T] → logits of the next token [N, T, vocabulary].</summary>
    protected override Tensor Compute(Tensor ids) => Functional.Linear(Features(ids), HeadWeight.Tensor);
}

/// <summary>A branch's value, and what the norm behind it shall do in its own pass: add the last bias (or none), drop elements.</summary>
internal readonly ref struct OpenBranch(Tensor value, Tensor bias, Dropout? dropout)
{
    internal Tensor Value { get; } = value;

    internal Tensor Bias { get; } = bias;

    internal Dropout? Dropout { get; } = dropout;

    /// <summary>Whether it is added as it is.</summary>
    internal bool IsPlain => Bias.IsNone && Dropout is null or { IsIdentity: true };
}

/// <summary>x + attention(norm(x)), then x + mlp(norm(x)).</summary>
internal sealed partial class GptBlock : Module
{
    internal const double Deviation = 0.02;

    private readonly InputMajorLinear _widen;
    private readonly InputMajorLinear _narrow;
    private readonly Dropout _dropout;

    internal GptBlock(GptConfig config)
    {
        FirstNorm = Child("ln_1", new LayerNorm(config.Width));
        Attention = Child("attn", new GptAttention(config));
        SecondNorm = Child("ln_2", new LayerNorm(config.Width));
        _widen = Child("mlp.c_fc", new InputMajorLinear(config.Width, 4 * config.Width, Deviation));
        _narrow = Child("mlp.c_proj", new InputMajorLinear(4 * config.Width, config.Width, Deviation / Math.Sqrt(2 * config.Layers)));
        _dropout = Child("mlp.dropout", new Dropout(config.Dropout));
    }

    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        x += Attention.Forward(FirstNorm.Forward(x));
        return scope.Return(x + _dropout.Forward(Branch(SecondNorm.Forward(x))));
    }

    public override bool IsSegment => true;

    // The sum with attention's branch spares that branch's last product, and carries no more than that sum.
    public override IReadOnlyList<Keepable> Keepables => [Attention.Keepable, new("middle", Attention.AddsPlainly ? 1 : 0, [Attention.Join], [])];

    internal LayerNorm FirstNorm { get; }

    internal GptAttention Attention { get; }

    internal LayerNorm SecondNorm { get; }

    /// <summary>Whether hooks want to see the values that fusion does not make.</summary>
    internal bool IsWatched => IsObserved;

    private Tensor Branch(Tensor x) => MayJoin(x)
        ? FusedLinear.GeluMlp(x, _widen, _widen.Weight, _widen.Bias, _narrow, _narrow.Weight, _narrow.Bias)
        : _narrow.Forward(_widen.Forward(x).GeluTanh()); // [N, T, 4·width] between

    /// <summary>The branch, its dropout left to the norm behind it, and its last bias too where that is <paramref name="late"/>.</summary>
    internal OpenBranch Open(Tensor x, bool late) => late && MayJoin(x)
        ? new(FusedLinear.GeluMlp(x, _widen, _widen.Weight, _widen.Bias, _narrow, _narrow.Weight, default), _narrow.Bias, _dropout)
        : new(Branch(x), default, _dropout);

    /// <summary>Whether the branch is added as it is.</summary>
    internal bool AddsPlainly => _dropout.IsIdentity;

    /// <summary>The branch, whose value is not wanted, its gradients alone.</summary>
    internal Tensor GradientOfBranch(Tensor x) => MayJoin(x)
        ? FusedLinear.GeluMlp(x, _widen, _widen.Weight, _widen.Bias, _narrow, _narrow.Weight, _narrow.Bias, value: false)
        : Branch(x);

    private bool MayJoin(Tensor x) => _widen.MayJoin(x) && _narrow.MayJoin(x) && FusedLinear.Alike(_widen, _narrow);
}

internal sealed partial class GptAttention : Module
{
    private readonly int _heads;
    private readonly double _weightDropout;
    private readonly InputMajorLinear _project;
    private readonly InputMajorLinear _join;
    private readonly Dropout _dropout;

    internal GptAttention(GptConfig config)
    {
        _heads = config.Width % config.Heads == 0 ? config.Heads : throw new ArgumentException($"{config.Heads} heads do not divide a width of {config.Width}.", nameof(config));
        _weightDropout = config.Dropout;
        if (config is { GateWidth: not null, Sparse: null })
        {
            throw new ArgumentException("A gate chooses the blocks of sparse attention: set Sparse, or leave GateWidth out.", nameof(config));
        }
        Sparse = config.Sparse is { } policy ? new DynamicSparseAttention(policy, Gate(config, policy)) : null;
        TokenSparse = config.TokenSparse is not { } tokens ? null
            : Sparse is not null ? throw new ArgumentException("Sparse and TokenSparse exclude each other.", nameof(config))
            : Child("indexer", new TokenSparseAttention(config.Width, config.Heads, config.Width / config.Heads, tokens));
        _project = Child("c_attn", new InputMajorLinear(config.Width, 3 * config.Width, GptBlock.Deviation));
        _join = Child("c_proj", new InputMajorLinear(config.Width, config.Width, GptBlock.Deviation / Math.Sqrt(2 * config.Layers)));
        _dropout = Child("resid_dropout", new Dropout(config.Dropout));
    }

    private BlockGate? Gate(GptConfig config, SparsePolicy policy) =>
        config.GateWidth is { } width ? Child("gate", new BlockGate(config.Width / config.Heads, width, policy)) : null;

    internal DynamicSparseAttention? Sparse { get; }

    internal TokenSparseAttention? TokenSparse { get; }

    /// <summary>Attention of further tokens [N, T, width] to themselves and those in a cache, which takes them in.</summary>
    internal Tensor Extend(Tensor x, TokenSparseCache cache)
    {
        using var scope = TensorScope.Open();
        Span<Tensor> parts = [default, default, default];
        Project(x, parts);
        return scope.Return(_join.Forward(Beside(TokenSparse!.Extend(x, parts[0], parts[1], parts[2], cache))));
    }

    /// <summary>The output, its dropout left to the norm behind it, and its last bias too where that is <paramref name="late"/>.</summary>
    /// <param name="x">Its input.</param>
    /// <param name="late">Whether the norm may add the bias.</param>
    /// <param name="kept">Room for what <see cref="OpenAgain"/> goes on from, or none.</param>
    internal OpenBranch Open(Tensor x, bool late, Span<Tensor> kept = default) => IsObserved || Recomputes ? new(Forward(x), default, null)
        : Joined(kept.Length > 0 && JoinsAttention(x) && FusedLinear.KeepsAttention(_project) ? FusedLinear.ProjectedAttentionFirst(x, _project.Weight, _project.Bias, _heads, causal: true, kept) : Attend(x), late);

    /// <summary>The same a second time, recorded, from what was kept.</summary>
    /// <param name="x">Its input.</param>
    /// <param name="late">Whether the norm may add the bias.</param>
    /// <param name="kept">From the first time, or none.</param>
    /// <param name="value">Whether the value is wanted, not the gradients alone.</param>
    internal OpenBranch OpenAgain(Tensor x, bool late, ReadOnlySpan<Tensor> kept, bool value)
    {
        var attended = !kept[0].IsNone ? FusedLinear.ProjectedAttentionAgain(x, _project.Weight, _project.Bias, _heads, causal: true, kept)
            : IsObserved || Recomputes ? default : Attend(x);
        return attended.IsNone ? new(Forward(x), default, null)
            : !value && _join.MayJoin(attended) ? new(FusedLinear.Of(_join, attended, _join.Weight, _join.Bias, value: false), default, _dropout)
            : Joined(attended, late);
    }

    private OpenBranch Joined(Tensor attended, bool late) => late && _join.MayJoin(attended)
        ? new(FusedLinear.Of(_join, attended, _join.Weight), _join.Bias, _dropout)
        : new(_join.Forward(attended), default, _dropout);

    /// <summary>The result, where <see cref="OpenAgain"/> goes on from it: where weights are of a type that cuDNN attends in, on a GPU.</summary>
    internal Keepable Keepable => JoinsAttention(_project.Bias) ? new("attention", 1, [this], [_project, _join]) : new("attention", 0, [], []);

    /// <summary>The last product.</summary>
    internal Module Join => _join;

    /// <summary>Whether the branch is added as it is.</summary>
    internal bool AddsPlainly => _dropout.IsIdentity;

    private bool JoinsAttention(Tensor x) => Sparse is null && TokenSparse is null && (!Training || _weightDropout == 0) && _project.MayJoin(x);

    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        return scope.Return(_dropout.Forward(_join.Forward(Attend(x))));
    }

    // What all heads see, side by side: [N, T, width].
    private Tensor Attend(Tensor x)
    {
        using var scope = TensorScope.Open();
        var dropout = Training ? _weightDropout : 0;
        if (JoinsAttention(x))
        {
            return scope.Return(FusedLinear.ProjectedAttention(_project, x, _project.Weight, _project.Bias, _heads, causal: true));
        }
        Span<Tensor> parts = [default, default, default];
        Project(x, parts);
        var y = TokenSparse is not null ? TokenSparse.Forward(x, parts[0], parts[1], parts[2], dropout)
            : Sparse is not null ? Sparse.Forward(parts[0], parts[1], parts[2], causal: true)
            : Functional.Attention(parts[0], parts[1], parts[2], causal: true, dropout: dropout);
        return scope.Return(Beside(y));
    }

    // Queries, keys and values [N, H, T, D].
    private void Project(Tensor x, Span<Tensor> parts)
    {
        var (n, length, width) = (x.Size(0), x.Size(1), x.Size(2));
        _project.Forward(x).Split([width, width, width], 2, parts);
        foreach (ref var part in parts)
        {
            part = part.Reshape(n, length, _heads, width / _heads).Transpose(1, 2);
        }
    }

    private static Tensor Beside(Tensor y) => y.Transpose(1, 2).Reshape(y.Size(0), y.Size(2), y.Size(1) * y.Size(3)); // [N, T, width]
}

/// <summary>x·W + b with W [inputs, outputs], the layout in which GPT-2 keeps its weights.</summary>
internal sealed class InputMajorLinear : Module
{
    private readonly TensorHandle _weight;
    private readonly TensorHandle _bias;

    internal InputMajorLinear(int inputs, int outputs, double deviation)
    {
        _weight = Parameter("weight", Initialize.Normal(deviation, inputs, outputs));
        _bias = Parameter("bias", TensorHandle.Filled(0, outputs));
    }

    /// <summary>[outputs, inputs].</summary>
    internal Tensor Weight => _weight.Tensor.Transpose(0, 1);

    internal Tensor Bias => _bias.Tensor;

    /// <summary>Whether nobody looks at this layer's values, and an operator that takes in its neighbours is faster.</summary>
    internal bool MayJoin(Tensor x) => !IsObserved && !Recomputes && FusedLinear.Joins(this, x, _weight.Tensor);

    protected override Tensor Compute(Tensor x) => Functional.Linear(x, Weight, Bias); // [.., outputs]
}
