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
    /// <exception cref="InvalidOperationException">Its attention is sparse: what a query sees then depends on those beside it.</exception>
    public Tensor Continue(Tensor ids, ReadOnlySpan<Tensor> past, Span<Tensor> present)
    {
        if (Config is not { Sparse: null, TokenSparse: null })
        {
            throw new InvalidOperationException("Only dense attention goes on from keys and values alone.");
        }
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        var (known, length) = (past[0].Size(2), ids.Size(1));
        var x = _tokens.Forward(ids) + _positions.Weight.Tensor.Narrow(0, known, length); // [N, T, width]
        var mask = Tensor.Cat([x.NewFull(0, length, known), Functional.CausalMask(x, length, length)], 1); // [T, P + T]
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
    /// <summary>Of further tokens [N, T, width], under a mask [T, P + T].</summary>
    internal Tensor Continue(Tensor x, Tensor mask, ReadOnlySpan<Tensor> past, Span<Tensor> present)
    {
        x += Attention.Continue(FirstNorm.Forward(x), mask, past, present);
        return x + Branch(SecondNorm.Forward(x));
    }
}

internal sealed partial class GptAttention
{
    /// <summary>Dense attention of further tokens [N, T, width] to keys and values before them and their own.</summary>
    internal Tensor Continue(Tensor x, Tensor mask, ReadOnlySpan<Tensor> past, Span<Tensor> present)
    {
        Span<Tensor> parts = [default, default, default];
        Project(x, parts);
        (present[0], present[1]) = (Tensor.Cat([past[0], parts[1]], 2), Tensor.Cat([past[1], parts[2]], 2));
        return _join.Forward(Beside(Functional.Attention(parts[0], present[0], present[1], mask)));
    }
}
