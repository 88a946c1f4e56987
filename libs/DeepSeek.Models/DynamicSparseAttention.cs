using DeepSeek.Engine.Kernels;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Models;

/// <summary>
/// A layer's attention to the key blocks that a policy picks for the input at hand: takes the place of
/// <see cref="Functional.Attention"/> on projected heads, in training and in inference. It has no weights of its own, so dense and
/// sparse models exchange them freely. One instance a layer: it remembers the last density for the report. With a gate, the gate's
/// shares decide instead of the policy's estimate, which the gate learns from in training (<see cref="TakeLoss"/>).
/// </summary>
public sealed class DynamicSparseAttention(SparsePolicy policy, BlockGate? gate = null) : IDisposable
{
    private TensorHandle? _kept;
    private TensorHandle? _keyLengths;
    private TensorHandle? _loss;
    private long _queries;
    private long _keys;
    private bool _causal;

    /// <summary>What is kept; it may change between passes, but not while a pass that will be differentiated is under way, nor once a step is captured.</summary>
    public SparsePolicy Policy { get; set; } = policy;

    /// <summary>What chooses once it has learned; none: the policy's estimate.</summary>
    public BlockGate? Gate => gate;

    /// <summary>Whether the gate chooses, where there is one; until it has learned something, leave that to the estimate that it learns from.</summary>
    public bool GateChooses { get; set; } = true;

    /// <summary>Whether passes in training make the gate's loss.</summary>
    public bool Learns { get; set; } = true;

    /// <summary>Remembers what each call kept (one small tensor a call), so that <see cref="Density"/> can tell.</summary>
    public bool Reports { get; set; }

    /// <summary>
    /// q [N, H, T, D], k and v [N, Hkv, S, D] → [N, H, T, D]. Causal: aligned at the ends. Of sequences with lengths, int32 [N], nothing behind them is
    /// seen or counts in a choice, and rows behind them are 0; T and S are then alike.
    /// </summary>
    /// <exception cref="NotSupportedException">There are lengths and a gate, whose means would hold what is behind them.</exception>
    public Tensor Forward(Tensor q, Tensor k, Tensor v, bool causal, Tensor keyLengths = default)
    {
        using var scope = TensorScope.Open();
        if (!keyLengths.IsNone && q.Size(2) != k.Size(2))
        {
            throw new ArgumentException($"{q.Size(2)} queries of {k.Size(2)} keys take no lengths: a sequence's queries and keys must be the same tokens.", nameof(keyLengths));
        }
        var shares = gate is null ? SparseAttention.BlockScores(q, k, Policy, causal, keyLengths, keyLengths) : Shares(gate, q, k, causal, keyLengths);
        var selection = SparseAttention.Select(shares, q.Size(2), k.Size(2), Policy, causal, keyLengths, keyLengths);
        var output = SparseAttention.WithBlocks(q, k, v, selection, Policy.QueryBlock, Policy.KeyBlock, causal, keyLengths, keyLengths).Output;
        if (Reports)
        {
            Forget();
            _keyLengths = keyLengths.IsNone ? null : keyLengths.Keep();
            (_kept, _queries, _keys, _causal) = (selection.Count.Keep(), q.Size(2), k.Size(2), causal);
        }
        return scope.Return(output);
    }

    private Tensor Shares(BlockGate gate, Tensor q, Tensor k, bool causal, Tensor keyLengths)
    {
        if (!keyLengths.IsNone)
        {
            throw new NotSupportedException("A gate takes whole sequences, no lengths; leave the gate out, and the policy's estimate chooses.");
        }
        var learns = gate.Training && Learns;
        var estimate = learns || !GateChooses ? SparseAttention.BlockScores(q, k, Policy, causal) : default;
        if (learns)
        {
            if (Checkpoint.IsDropping)
            {
                throw new InvalidOperationException("Inside a checkpoint the gate's loss would be cut off from its graph: let this block keep its activations.");
            }
            _loss?.Dispose();
            _loss = gate.Loss(q, k, causal, estimate).Keep();
        }
        using var unrecorded = NoGrad.Enter();
        return GateChooses ? gate.Shares(q, k, causal) : estimate;
    }

    /// <summary>The last training pass's loss of the gate (one float32), given away once: add it to the model's loss or differentiate it alone.</summary>
    /// <exception cref="InvalidOperationException">There was no recorded pass in training since the last call, or there is no gate.</exception>
    public Tensor TakeLoss()
    {
        using var loss = _loss ?? throw new InvalidOperationException("There is no loss of a gate: pass something through the layer in training first.");
        _loss = null;
        return loss.Tensor * 1;
    }

    /// <summary>Kept blocks over visible blocks in the last call; none before the first with <see cref="Reports"/>. Reads the device.</summary>
    public double? Density()
    {
        if (_kept is null)
        {
            return null;
        }
        using var scope = TensorScope.Open();
        return SparseAttention.Density(new(default, _kept.Tensor), _queries, _keys, Policy, _causal, _keyLengths?.Tensor ?? default, _keyLengths?.Tensor ?? default);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forget();
        _loss?.Dispose();
        _loss = null;
    }

    private void Forget()
    {
        _kept?.Dispose();
        _keyLengths?.Dispose();
    }
}
