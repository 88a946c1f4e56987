using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// Keys, values and indexer keys of one layer for N sequences of equal length. With FP8 an indexer key takes its dimension and 4 bytes
/// a token, beside 2 · Hkv · D elements of keys and values.
/// </summary>
public sealed class TokenSparseCache : IDisposable
{
    private readonly TensorHandle _keys;
    private readonly TensorHandle _values;
    private readonly TensorHandle _index;
    private readonly TensorHandle? _scales;

    internal TokenSparseCache(long sequences, long kvHeads, long dim, int indexDim, long capacity, Dtype dtype, bool fp8, Device device)
    {
        Capacity = capacity;
        _keys = TensorHandle.Empty(dtype, device, sequences, kvHeads, capacity, dim);
        _values = TensorHandle.Empty(dtype, device, sequences, kvHeads, capacity, dim);
        _index = TensorHandle.Empty(fp8 ? Dtype.UInt8 : Dtype.Float32, device, sequences, capacity, indexDim);
        _scales = fp8 ? TensorHandle.Empty(Dtype.Float32, device, sequences, capacity) : null;
    }

    /// <summary>Tokens of each sequence that there is room for.</summary>
    public long Capacity { get; }

    /// <summary>Tokens of each sequence that are in it.</summary>
    public long Length { get; private set; }

    /// <summary>[N, Hkv, Length, D], a view.</summary>
    internal Tensor Keys => _keys.Tensor.Narrow(2, 0, Length);

    /// <summary>[N, Hkv, Length, D], a view.</summary>
    internal Tensor Values => _values.Tensor.Narrow(2, 0, Length);

    /// <summary>[N, Length, dim], a view.</summary>
    internal IndexerRows IndexRows => new(_index.Tensor.Narrow(1, 0, Length), _scales is null ? default : _scales.Tensor.Narrow(1, 0, Length));

    /// <summary>Forgets all but the first tokens.</summary>
    public void Shorten(long length) => Length = length >= 0 && length <= Length ? length : throw new ArgumentOutOfRangeException(nameof(length), length, $"The cache holds {Length} tokens.");

    internal void Add(Tensor k, Tensor v, IndexerRows index)
    {
        var count = k.Size(2);
        if (Length + count > Capacity)
        {
            throw new InvalidOperationException($"The cache has room for {Capacity} tokens; it holds {Length}, and {count} more do not fit.");
        }
        _keys.Tensor.Narrow(2, Length, count).CopyInPlace(k);
        _values.Tensor.Narrow(2, Length, count).CopyInPlace(v);
        _index.Tensor.Narrow(1, Length, count).CopyInPlace(index.Values);
        _scales?.Tensor.Narrow(1, Length, count).CopyInPlace(index.Scales);
        Length += count;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _keys.Dispose();
        _values.Dispose();
        _index.Dispose();
        _scales?.Dispose();
    }
}

/// <summary>What a <see cref="Gpt"/> with token-sparse attention remembers of the sequences that it continues: a cache a layer.</summary>
public sealed class GptCache : IDisposable
{
    internal GptCache(TokenSparseCache[] layers) => Layers = layers;

    internal TokenSparseCache[] Layers { get; }

    /// <summary>Tokens of each sequence that are in it.</summary>
    public long Length => Layers[0].Length;

    /// <summary>Forgets all but the first tokens.</summary>
    public void Shorten(long length) => Array.ForEach(Layers, layer => layer.Shorten(length));

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(Layers, layer => layer.Dispose());
}
