using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Optim;

/// <summary>Decisions between steps: rate, weight decay, share of the average and limit of the gradients stand on the device, where replays of a captured step find them.</summary>
public sealed partial class AdaptiveOptimizer
{
    // That are read together: one wait for the device for so many steps.
    private const int LossesAtOnce = 8;

    private readonly TensorHandle _losses; // not yet read, in order
    private (double Rate, double Share) _sent;
    private bool _advanced;
    private bool _mayOverflow;

    /// <summary>Grows whenever a recorded step no longer computes what the net does now: with every change of dropout, whose share is part of the recording.</summary>
    public int Version { get; private set; }

    /// <summary>
    /// Takes the decisions that the losses seen so far call for, and sends the device what the next step reads. Where it is called in front of every step,
    /// <see cref="Optimizer.Step()"/> computes and decides nothing, so that a captured step can hold it, and <see cref="Observe(Tensor)"/> is told the loss behind the
    /// step. A divergence is then seen up to eight steps late, and undone as ever.
    /// </summary>
    /// <example><c>optimizer.Advance(); var loss = capture.Run(x, y); optimizer.Observe(loss);</c></example>
    /// <exception cref="CaptureException">It is called inside the captured step.</exception>
    public void Advance()
    {
        if (Recording.IsActive)
        {
            throw new CaptureException("Advance() decides between steps. Call it in front of Run(), and Step() alone inside.");
        }
        using var unrecorded = NoGrad.Enter();
        ref var now = ref _state.Now;
        Start(ref now);
        if (now.Unread == LossesAtOnce)
        {
            Read(ref now);
            Decide(ref now);
        }
        var rate = Warmed(now);
        now.Taken++;
        now.WarmupLeft = Math.Max(0, now.WarmupLeft - 1);
        LearningRate = rate;
        Send(rate, Share(ref now, rate, now.Taken), now.Limit);
        _advanced = true;
    }

    /// <summary>The loss (one element) of the step just taken; it is read later, together with others, so that nothing waits for it. For steps with <see cref="Advance"/> in front.</summary>
    public void Observe(Tensor loss)
    {
        using var unrecorded = NoGrad.Enter();
        using var scope = TensorScope.Open();
        ref var now = ref _state.Now;
        if (now.Unread == LossesAtOnce)
        {
            Read(ref now);
        }
        _losses.Tensor.Narrow(0, (long)now.Unread++, 1).CopyInPlace(loss.Detach().Reshape(1));
    }

    private void Start(ref AdaptiveState.Values now)
    {
        if (now.Started == 0)
        {
            Reset(_live);
            Copy(_buffers, _safeBuffers);
            now.Started = 1;
        }
    }

    private void Read(ref AdaptiveState.Values now)
    {
        foreach (var loss in _losses.Tensor.ToArray<double>())
        {
            Observe(loss);
        }
        now.Unread = 0;
    }

    private void Decide(ref AdaptiveState.Values now)
    {
        var (norm, step) = (LastNorm, (long)now.Taken);
        ObserveNorm(ref now, norm);
        if (Diverges(now))
        {
            Undo(ref now, step, AdjustmentCause.Divergence, double.IsFinite(now.Recent) ? now.Recent : now.Pending);
        }
        else if (!double.IsFinite(norm) && !_mayOverflow)
        {
            Undo(ref now, step, AdjustmentCause.BrokenGradient, norm);
        }
        else if (now.Count >= WindowLength(now))
        {
            EndWindow(ref now, step);
        }
    }

    // What a recording holds.
    private void Compute(long step)
    {
        if (!_advanced)
        {
            throw new CaptureException("The adaptive optimiser decides between steps: call Advance() in front of every Run() of a captured step.");
        }
        using var unrecorded = NoGrad.Enter();
        _mayOverflow = Skip != 0;
        LimitGradientsAsSent(_state.Now.Limit);
        Move(step);
        _advanced = Recording.IsActive;
    }

    private static bool Diverges(in AdaptiveState.Values now) =>
        !double.IsFinite(now.Recent) || (now.LastDeviation > 0 && now.RecentCount == RecentLosses && now.Recent > Bound(now));

    private double Share(ref AdaptiveState.Values now, double rate, double step)
    {
        now.LargestRate = Math.Max(now.LargestRate, rate);
        var weight = Math.Pow(step, _options.AveragePower) * now.LargestRate * now.LargestRate;
        now.AverageWeight += weight;
        return weight / now.AverageWeight;
    }

    private void Send(double rate, double share, double limit)
    {
        _sent = (rate, share);
        if (ControlHandle != 0)
        {
            NativeMethods.Check(NativeMethods.ds_optim_set_adaptive(ControlHandle, rate, WeightDecay, share, limit));
        }
    }
}
