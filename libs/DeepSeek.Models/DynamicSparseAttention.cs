using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// A layer's attention to the key blocks that a policy picks for the input at hand: takes the place of
/// <see cref="Functional.Attention"/> on projected heads, in training and in inference. It has no weights of its own, so dense and
/// sparse models exchange them freely. One instance a layer: it remembers the last density for the report. With a gate, the gate's
/// shares decide instead of the estimate from the input's antidiagonals.
/// </summary>
public sealed class DynamicSparseAttention(SparsePolicy policy, BlockGate? gate = null) : IDisposable
{
    private TensorHandle? _kept;
    private TensorHandle? _keyLengths;
    private long _queries;
    private long _keys;
    private bool _causal;

    /// <summary>What is kept; it may change between passes, but not while a pass that will be differentiated is under way, nor once a step is captured.</summary>
    public SparsePolicy Policy { get; set; } = policy;

    /// <summary>Remembers what each call kept (one small tensor a call), so that <see cref="Density"/> can tell.</summary>
    public bool Reports { get; set; }

    /// <summary>q [N, H, T, D], k and v [N, Hkv, S, D] → [N, H, T, D]. Causal: aligned at the ends; keys behind an int32 [N] of lengths are hidden.</summary>
    public Tensor Forward(Tensor q, Tensor k, Tensor v, bool causal, Tensor keyLengths = default)
    {
        using var scope = TensorScope.Open();
        var shares = gate is null ? SparseAttention.BlockScores(q, k, Policy, causal, default, keyLengths) : gate.Shares(q.Detach(), k.Detach(), causal);
        var selection = SparseAttention.Select(shares, q.Size(2), k.Size(2), Policy, causal, default, keyLengths);
        var output = SparseAttention.WithBlocks(q, k, v, selection, Policy.QueryBlock, Policy.KeyBlock, causal, default, keyLengths).Output;
        if (Reports)
        {
            Dispose();
            _keyLengths = keyLengths.IsNone ? null : keyLengths.Keep();
            (_kept, _queries, _keys, _causal) = (selection.Count.Keep(), q.Size(2), k.Size(2), causal);
        }
        return scope.Return(output);
    }

    /// <summary>Kept blocks over visible blocks in the last call; none before the first with <see cref="Reports"/>. Reads the device.</summary>
    public double? Density()
    {
        if (_kept is null)
        {
            return null;
        }
        using var scope = TensorScope.Open();
        return SparseAttention.Density(new(default, _kept.Tensor), _queries, _keys, Policy, _causal, default, _keyLengths?.Tensor ?? default);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _kept?.Dispose();
        _keyLengths?.Dispose();
    }
}
