using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Optim;

/// <summary>
/// Schedule-free AdamW (Defazio et al., arXiv 2405.15682, algorithm 1) whose rate, weight decay and dropout follow what it observes:
/// gradients are taken at y = (1-β)·z + β·x, AdamW's rule moves z, and x averages z, in one fused pass. x is what is measured and kept
/// (<see cref="UseAverage"/>); it needs no end of the run to be known. Tell it every step's loss (<see cref="Observe"/>) and each
/// validation loss (<see cref="ObserveValidation"/>); it reads no other value from the device but, on a GPU, one gradient norm a window.
/// Beside AdamW's state it keeps three tensors a parameter, z, x and the last safe x, and the last safe buffers. It decides inside
/// <see cref="Optimizer.Step()"/>, or, where steps are captured or losses shall not be waited for, between steps: see <see cref="Advance"/>.
/// </summary>
public sealed partial class AdaptiveOptimizer : AdamW
{
    // A mean over the last losses this many standard deviations of one loss above the last window is a divergence; the norm of a
    // gradient so many above its mean logarithm is clipped.
    private const double FarOut = 5;
    private const double ClipAt = 4;
    private const int RecentLosses = 8;
    private const double ClearTrend = 3;
    private const int PlateauWindows = 4;
    private const int LargestWindow = 1024;

    private static readonly Operator s_lerp = new("lerp", "Scalar");
    private static readonly Operator s_finite = new("nan_to_num_");

    private readonly AdaptiveOptions _options;
    private readonly AdaptiveState _state = new();
    private readonly TensorHandle[] _live;
    private readonly TensorHandle[] _fast;
    private readonly TensorHandle[] _average;
    private readonly nint[] _fastHandles;
    private readonly nint[] _averageHandles;
    private readonly TensorHandle[] _safe;
    private readonly TensorHandle[] _squares;
    private readonly TensorHandle[] _buffers;
    private readonly TensorHandle[] _safeBuffers;
    private readonly (Dropout Layer, double Base)[] _dropouts;
    private readonly bool _onDevice;

    /// <summary>Starts from the module's weights as they are at the first step.</summary>
    public AdaptiveOptimizer(Module module, AdaptiveOptions? options = null)
        : base(module, (options ??= new AdaptiveOptions()).WeightDecay, beta1: 0, options.Beta2, options.Epsilon)
    {
        options.Check();
        _options = options;
        _squares = Named("second");
        _live = [.. Parameters.Select(p => State.FirstOrDefault(s => s.Name == $"master.{p.Name}").Tensor ?? p.Tensor)];
        (_fast, _fastHandles) = Add("fast");
        (_average, _averageHandles) = Add("average");
        (_safe, _) = Add("safe");
        _buffers = [.. module.Buffers().Select(b => b.Tensor)];
        _safeBuffers = [.. module.Buffers().Select(b => Shared($"safe.{b.Name}", b.Tensor))];
        AddShared(new NamedTensor("adaptive", _state.Tensor));
        _losses = TensorHandle.Zeros(Dtype.Float64, LossesAtOnce);
        _losses.MoveTo(module.Device);
        AddShared(new NamedTensor("losses", _losses));
        _dropouts = [.. module.Modules().Select(m => m.Module).OfType<Dropout>().Select(d => (d, d.Probability))];
        _onDevice = module.Device.IsCuda;
        ref var now = ref _state.Now;
        (now.Rate, now.WeightDecay, now.WarmupLeft) = (options.InitialLearningRate, options.WeightDecay, options.Warmup);
        LearningRate = Warmed(now);
    }

    /// <summary>Every adjustment with its cause, oldest first; the last 256 are kept, in checkpoints too.</summary>
    public IReadOnlyList<Adjustment> Log => _state.Log;

    /// <summary>What is added to every dropout's initial probability now.</summary>
    public double DropoutShift => _state.Now.DropoutShift;

    /// <summary>The rate without warm-up.</summary>
    public double Rate => _state.Now.Rate;

    /// <summary>The training loss whose gradients the next <see cref="Optimizer.Step()"/> uses. Where losses are not read every step, their mean since the last call.</summary>
    public void Observe(double loss)
    {
        ref var now = ref _state.Now;
        now.Observed++;
        if (!double.IsFinite(loss))
        {
            now.Pending = loss;
            now.RecentCount = RecentLosses;
            now.Recent = loss;
            return;
        }
        now.RecentCount = Math.Min(RecentLosses, now.RecentCount + 1);
        now.Recent += (loss - now.Recent) / now.RecentCount;
        now.Count++;
        var before = loss - now.Mean;
        now.Mean += before / now.Count;
        now.Squares += before * (loss - now.Mean);
    }

    /// <summary>The loss on held-out rows, measured inside <see cref="UseAverage"/>, by the same formula as the training loss.</summary>
    public void ObserveValidation(double loss)
    {
        ref var now = ref _state.Now;
        if (!double.IsFinite(loss) || now.FirstMean == 0)
        {
            return;
        }
        var noise = _options.DynamicThreshold * now.LastDeviation / Math.Sqrt(WindowLength(now));
        if (now.Validations++ == 0 || loss < now.BestValidation)
        {
            now.BestValidation = loss;
            now.Worse = 0;
            if (loss <= now.LastMean - noise && _dropouts.Any(d => d.Layer.Probability > 0))
            {
                Shift(-_options.DropoutStep, AdjustmentCause.Underfitting, loss - now.LastMean);
            }
        }
        else if (loss > now.BestValidation + Math.Max(noise, 0.005 * Math.Abs(now.BestValidation)) && ++now.Worse >= 2)
        {
            now.Worse = 0;
            Regularise(loss - now.BestValidation);
        }
        now.LastValidation = loss;
    }

    /// <inheritdoc/>
    public override IDisposable UseAverage()
    {
        if (_state.Now.Started != 0)
        {
            using var unrecorded = NoGrad.Enter();
            for (var i = 0; i < Count; i++)
            {
                Parameters[i].Tensor.Tensor.CopyInPlace(_average[i].Tensor);
            }
        }
        return new Averaged(this);
    }

    /// <inheritdoc/>
    public override void ContinueAfter(long steps)
    {
        WeightDecay = _state.Now.WeightDecay;
        ApplyDropout();
        LearningRate = Warmed(_state.Now);
        base.ContinueAfter(steps);
    }

    /// <inheritdoc/>
    protected override void Update(double learningRate, long step)
    {
        if (_advanced || Recording.IsActive)
        {
            Compute(step);
            return;
        }
        ref var now = ref _state.Now;
        if (learningRate != Warmed(now))
        {
            throw new InvalidOperationException("The adaptive optimiser chooses its own rate: call Step() without one.");
        }
        using var unrecorded = NoGrad.Enter();
        Start(ref now);
        now.Taken = step;
        var norm = LimitedNorm(ref now);
        if (Diverges(now))
        {
            Undo(ref now, step, AdjustmentCause.Divergence, double.IsFinite(now.Recent) ? now.Recent : now.Pending);
            return;
        }
        // With a loss scaler an overflow is the scaler's affair: the kernel leaves that step out.
        if (!double.IsFinite(norm) && Skip == 0)
        {
            Undo(ref now, step, AdjustmentCause.BrokenGradient, norm);
            return;
        }
        Send(learningRate, Share(ref now, learningRate, step), now.Limit);
        Move(step);
        now.WarmupLeft = Math.Max(0, now.WarmupLeft - 1);
        if (now.Count >= WindowLength(now))
        {
            EndWindow(ref now, step);
        }
        LearningRate = Warmed(now);
    }

    // One pass over all that belongs to a weight.
    private unsafe void Move(long step)
    {
        var arguments = new NativeAdaptive
        {
            Size = (uint)sizeof(NativeAdaptive),
            Count = Count,
            Decayed = Decayed,
            Step = step,
            LearningRate = _sent.Rate,
            WeightDecay = WeightDecay,
            Beta2 = _options.Beta2,
            Epsilon = _options.Epsilon,
            Interpolation = _options.Interpolation,
            Share = _sent.Share,
            Parameters = Handles,
            Fast = Address(_fastHandles),
            Average = Address(_averageHandles),
            Second = Second,
            Masters = Masters,
            Control = ControlHandle,
            Skip = Skip,
        };
        using var traced = Traced("adaptive");
        NativeMethods.Check(NativeMethods.ds_optim_adaptive(&arguments));
    }

    private Tensor Mixed(int i) => OperatorCall.To(s_lerp).Add(_fast[i].Tensor).Add(_average[i].Tensor).Add(_options.Interpolation).One();

    private void Show(int i, Tensor weights)
    {
        _live[i].Tensor.CopyInPlace(weights);
        if (!ReferenceEquals(_live[i], Parameters[i].Tensor))
        {
            Parameters[i].Tensor.Tensor.CopyInPlace(weights);
        }
    }

    // A run twice as long lies between one cut and the next for a plateau: even if every look saw one, the rate would fall no faster
    // than 1/steps, whose sum grows without bound, so that no distance stays out of reach (Robbins & Monro, Ann. Math. Stat. 22, 1951).
    private void EndWindow(ref AdaptiveState.Values now, long step)
    {
        var variance = now.Squares / (now.Count - 1);
        _state.Push(new LossWindow(now.Observed - now.Count / 2, now.Mean, variance / now.Count));
        (now.LastMean, now.LastDeviation) = (now.Mean, Math.Sqrt(variance));
        now.FirstMean = now.FirstMean == 0 ? now.Mean : now.FirstMean;
        (now.Count, now.Mean, now.Squares) = (0, 0, 0);
        Copy(_average, _safe);
        Copy(_buffers, _safeBuffers);
        var trend = LossTrend.InStandardErrors(_state.Trend);
        if (trend > ClearTrend)
        {
            Cut(ref now, step, AdjustmentCause.Rise, trend);
        }
        else if (trend < -ClearTrend && now.Cut == 0 && now.Rate < _options.LargestGrowth * _options.InitialLearningRate && _options.Growth > 1)
        {
            SetRate(ref now, step, Math.Min(now.Rate * _options.Growth, _options.LargestGrowth * _options.InitialLearningRate), AdjustmentCause.Falling, trend);
        }
        else if (now.Windows >= PlateauWindows && now.Observed >= 2 * now.CutAt && trend > -_options.DynamicThreshold)
        {
            Cut(ref now, step, AdjustmentCause.Plateau, trend);
        }
    }

    private void Cut(ref AdaptiveState.Values now, long step, AdjustmentCause cause, double evidence)
    {
        SetRate(ref now, step, now.Rate * _options.DecayRate, cause, evidence);
        (now.Cut, now.CutAt, now.Windows) = (1, now.Observed, 0);
    }

    private void SetRate(ref AdaptiveState.Values now, long step, double rate, AdjustmentCause cause, double evidence)
    {
        _state.Add(new Adjustment(step, Adjusted.LearningRate, cause, now.Rate, rate, evidence));
        now.Rate = rate;
    }

    /// <summary>Back to the last safe average, more slowly.</summary>
    private void Undo(ref AdaptiveState.Values now, long step, AdjustmentCause cause, double evidence)
    {
        Cut(ref now, step, cause, evidence);
        Reset(_safe);
        Copy(_safeBuffers, _buffers); // running statistics have seen the bad step
        foreach (var squares in _squares)
        {
            OperatorCall.To(s_finite).Add(squares.Tensor).Add(0.0).InPlace();
        }
        (now.WarmupLeft, now.Pending) = (_options.Warmup, 0);
        (now.Count, now.Mean, now.Squares, now.Recent, now.RecentCount) = (0, 0, 0, 0, 0);
        LearningRate = Warmed(now);
    }

    private void Reset(TensorHandle[] source)
    {
        for (var i = 0; i < Count; i++)
        {
            _average[i].Tensor.CopyInPlace(source[i].Tensor);
            _fast[i].Tensor.CopyInPlace(source[i].Tensor);
            _safe[i].Tensor.CopyInPlace(source[i].Tensor);
            Show(i, _average[i].Tensor);
        }
    }

    /// <summary>Clips unusual gradients by the statistics of their norms' logarithms; a norm of 1 stands for one that was not read.</summary>
    private double LimitedNorm(ref AdaptiveState.Values now)
    {
        var read = !_onDevice || now.Count + 1 >= WindowLength(now) || now.Norms < 2;
        if (!read)
        {
            LimitGradients(now.Limit);
            return 1;
        }
        var norm = ClipGradients(now.Limit);
        ObserveNorm(ref now, norm);
        return norm;
    }

    private static void ObserveNorm(ref AdaptiveState.Values now, double norm)
    {
        if (!double.IsFinite(norm) || norm <= 0)
        {
            return;
        }
        // A plain mean at first, then one over about the last hundred.
        var share = 1 / Math.Min(++now.Norms, 100);
        var off = Math.Log(norm) - now.NormMean;
        now.NormMean += share * off;
        now.NormVariance = (1 - share) * (now.NormVariance + share * off * off);
        now.Limit = now.Norms >= 16 ? Math.Exp(now.NormMean + ClipAt * Math.Sqrt(now.NormVariance + 0.01)) : 0;
    }

    private void Regularise(double evidence)
    {
        ref var now = ref _state.Now;
        var ceiling = Math.Max(10 * _options.WeightDecay, 0.1);
        if (_options.AdjustWeightDecay && now.WeightDecay < ceiling)
        {
            var decay = Math.Min(ceiling, Math.Max(1.5 * now.WeightDecay, 0.01));
            _state.Add(new Adjustment((long)now.Observed, Adjusted.WeightDecay, AdjustmentCause.Overfitting, now.WeightDecay, decay, evidence));
            now.WeightDecay = WeightDecay = decay;
        }
        if (_dropouts.Any(d => d.Layer.Probability < _options.LargestDropout))
        {
            Shift(_options.DropoutStep, AdjustmentCause.Overfitting, evidence);
        }
    }

    private void Shift(double by, AdjustmentCause cause, double evidence)
    {
        if (!_options.AdjustDropout || by == 0)
        {
            return;
        }
        ref var now = ref _state.Now;
        _state.Add(new Adjustment((long)now.Observed, Adjusted.Dropout, cause, now.DropoutShift, now.DropoutShift + by, evidence));
        now.DropoutShift += by;
        ApplyDropout();
        Version++;
    }

    private void ApplyDropout()
    {
        foreach (var (layer, start) in _dropouts)
        {
            layer.Probability = Math.Clamp(start + _state.Now.DropoutShift, 0, Math.Max(start, _options.LargestDropout));
        }
    }

    private double Warmed(in AdaptiveState.Values now) => _options.Warmup == 0 ? now.Rate : now.Rate * (1 - now.WarmupLeft / (_options.Warmup + 1));

    private double WindowLength(in AdaptiveState.Values now) => Math.Clamp(Math.Floor(now.Observed / 24), _options.Window, Math.Max(_options.Window, LargestWindow));

    // The floor keeps a loss that has come to rest from diverging by its rounding.
    private static double Bound(in AdaptiveState.Values now) => now.LastMean + FarOut * now.LastDeviation + 0.1 * Math.Abs(now.LastMean) + 1e-3 * Math.Abs(now.FirstMean);

    private TensorHandle[] Named(string name) => [.. Parameters.Select(p => State.First(s => s.Name == $"{name}.{p.Name}").Tensor)];

    private (TensorHandle[] Tensors, nint[] Handles) Add(string name)
    {
        var handles = AddState(name);
        return (Named(name), handles);
    }

    private TensorHandle Shared(string name, TensorHandle like)
    {
        var tensor = TensorHandle.ZerosLike(like.Tensor, like.Tensor.Dtype);
        AddShared(new NamedTensor(name, tensor));
        return tensor;
    }

    private static void Copy(TensorHandle[] from, TensorHandle[] to)
    {
        for (var i = 0; i < from.Length; i++)
        {
            to[i].Tensor.CopyInPlace(from[i].Tensor);
        }
    }

    private sealed class Averaged(AdaptiveOptimizer owner) : IDisposable
    {
        public void Dispose()
        {
            if (owner._state.Now.Started == 0)
            {
                return;
            }
            using var unrecorded = NoGrad.Enter();
            using var scope = TensorScope.Open();
            for (var i = 0; i < owner.Count; i++)
            {
                owner.Show(i, owner.Mixed(i));
            }
        }
    }
}
