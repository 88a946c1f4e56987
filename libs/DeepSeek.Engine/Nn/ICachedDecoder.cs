using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>A causal net that goes on from the keys and values of the tokens before, which the caller holds.</summary>
public interface ICachedDecoder
{
    /// <summary>Layers, each with a tensor of keys and one of values.</summary>
    int CacheLayers { get; }

    /// <summary>Heads of keys and values.</summary>
    int CacheHeads { get; }

    /// <summary>Width of a head.</summary>
    int CacheWidth { get; }

    /// <summary>
    /// Logits [N, T, K] behind each of T further tokens (int64 [N, T]) of sequences of which P are known: layer i's keys and values
    /// [N, H, P, D] are <paramref name="past"/>[2i] and [2i + 1], and <paramref name="present"/> gets them with the new ones, [N, H, P + T, D].
    /// </summary>
    Tensor Continue(Tensor ids, ReadOnlySpan<Tensor> past, Span<Tensor> present);
}
