using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>The net over keys and values that the caller holds; see <see cref="ICachedDecoder"/>.</summary>
public sealed partial class Gpt
{
    int ICachedDecoder.CacheLayers => Config.Layers;

    int ICachedDecoder.CacheHeads => Config.Heads;

    int ICachedDecoder.CacheWidth => Config.Width / Config.Heads;

    /// <inheritdoc/>
    /// <remarks>
    /// Block-sparse attention chooses for the queries of each call by themselves: in blocks of queries that begin with the call's first, so a text that is
    /// read in other portions may be seen through other blocks. Where the policy keeps everything, portions change nothing.
    /// </remarks>
    /// <exception cref="InvalidOperationException">Learned weights choose what it attends to: an indexer keeps keys of its own, a gate takes whole sequences.</exception>
    public Tensor Continue(Tensor ids, ReadOnlySpan<Tensor> past, Span<Tensor> present)
    {
        if (LearnsToChoose)
        {
            throw new InvalidOperationException("Attention that an indexer or a gate chooses does not go on from keys and values alone: leave it out, or use Extend with an indexer.");
        }
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var (known, length) = (past[0].Size(2), ids.Size(1));
        var x = _tokens.Forward(ids) + _positions.Weight.Tensor.Narrow(0, known, length); // [N, T, width]
        var mask = Config.Sparse is not null ? default : Tensor.Cat([x.NewFull(0, length, known), Functional.CausalMask(x, length, length)], 1); // [T, P + T]
        for (var i = 0; i < _blocks.Length; i++)
        {
            x = _blocks[i].Continue(x, mask, past.Slice(2 * i, 2), present.Slice(2 * i, 2));
        }
        foreach (ref var part in present)
        {
            part = scope.Return(part);
        }
        return scope.Return(Functional.Linear(_norm.Forward(x), HeadWeight.Tensor));
    }
}

internal sealed partial class GptBlock
{
    /// <summary>Of further tokens [N, T, width], under a mask [T, P + T] for dense attention.</summary>
    internal Tensor Continue(Tensor x, Tensor mask, ReadOnlySpan<Tensor> past, Span<Tensor> present)
    {
        x += Attention.Continue(FirstNorm.Forward(x), mask, past, present);
        return x + Branch(SecondNorm.Forward(x));
    }
}

internal sealed partial class GptAttention
{
    /// <summary>Attention of further tokens [N, T, width] to keys and values before them and their own.</summary>
    internal Tensor Continue(Tensor x, Tensor mask, ReadOnlySpan<Tensor> past, Span<Tensor> present)
    {
        Span<Tensor> parts = [default, default, default];
        Project(x, parts);
        (present[0], present[1]) = (Tensor.Cat([past[0], parts[1]], 2), Tensor.Cat([past[1], parts[2]], 2));
        var y = Sparse is not null ? Sparse.Forward(parts[0], present[0], present[1], causal: true) : Functional.Attention(parts[0], present[0], present[1], mask);
        return _join.Forward(Beside(y));
    }
}
