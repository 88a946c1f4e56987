using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// Moves a net's linear layers between FP8, half precision and Float32 by the ranges of their inputs, weights and gradients, and takes
/// moves back when the loss is worse for them. Parameters stay as they are: float32, or rounded to the half precision of the options by
/// <see cref="Module.ToPrecision"/>, which is faster (use no <see cref="Autocast"/> beside it). Heads, norms, embeddings and convolutions
/// keep the net's own precision. Call <see cref="EndStep"/> at the end of every step. A step that <see cref="IsLooking"/> must run as written;
/// others may be replayed from a recording that was made since <see cref="Version"/> changed. Layers multiply so while training alone;
/// dispose before exporting the net.
/// </summary>
public sealed class PrecisionController : IDisposable
{
    private readonly PrecisionOptions _options;
    private readonly ControlledLayer[] _layers;
    private readonly List<PrecisionMove> _log = [];
    private readonly List<string> _notes = [];
    private readonly List<ControlledLayer> _watched = [];
    private readonly Dictionary<(long, long, long), bool> _pays = [];
    private readonly LossGuard _guard;
    private readonly Device _device;
    private readonly LayerPrecision _lowest;
    private readonly bool _rounded;
    private long _step;
    private long _nextLook;
    private TensorHandle? _losses;
    private int _pending;
    private long _interval;

    /// <summary>Takes the net's layers in hand: modules without parts whose <c>weight</c> is a matrix, but for embeddings.</summary>
    public PrecisionController(Module net, PrecisionOptions? options = null)
    {
        _options = options ??= new PrecisionOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Interval, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.LossesAtOnce, 1, nameof(options));
        _device = net.Device;
        if (options.Half is not (Dtype.BFloat16 or Dtype.Float16) || (options.Half == Dtype.Float16 && !_device.IsCuda))
        {
            throw new ArgumentException("Half precision is BFloat16, or Float16 on a GPU.", nameof(options));
        }
        _lowest = options.Lowest;
        if (options.Lowest == LayerPrecision.Float8 && Fp8.Missing(_device) is { } missing)
        {
            _lowest = options.Emulate ? LayerPrecision.Float8 : LayerPrecision.Half;
            _notes.Add(options.Emulate ? $"FP8 is computed in float32 from its codes, for its numbers and not its speed: {missing}." : $"FP8 is off: {missing}.");
        }
        if (options.Start < _lowest || (options.Start == LayerPrecision.Float8 && !options.Emulate))
        {
            throw new ArgumentException("Layers begin in half precision or above and get FP8 where it pays.", nameof(options));
        }
        var found = net.Modules().Where(m => m.Module is not Embedding && !m.Module.Modules().Any())
            .Select(m => (m.Name, m.Module, Weight: m.Module.Parameters().FirstOrDefault(p => p.Name == "weight" && p.Tensor.Tensor.Rank == 2).Tensor))
            .Where(m => m.Weight is not null).ToArray();
        _rounded = found.Length > 0 && found[0].Weight.Tensor.Dtype != Dtype.Float32;
        if (_rounded && options.UnderAutocast)
        {
            throw new ArgumentException("Under autocast the net's weights are float32.", nameof(options));
        }
        var own = _rounded ? options.Half : Dtype.Float32;
        if (found.FirstOrDefault(m => m.Weight.Tensor.Dtype != own) is { Name: { } other } odd)
        {
            throw new ArgumentException($"The weight of {other} is {odd.Weight.Tensor.Dtype}; the controller takes a net of float32 weights, or one rounded to {options.Half} by ToPrecision.", nameof(net));
        }
        var head = found.LastOrDefault().Name;
        _layers = [.. found.Select(m => new ControlledLayer(m.Name, m.Module, m.Weight, options.KeepHigh?.Invoke(m.Name) ?? m.Name == head, options))];
        _guard = new LossGuard(options.GuardSteps, options.LossTolerance);
        _interval = options.Interval;
        BeginStep();
    }

    /// <summary>Every move with its cause, oldest first.</summary>
    public IReadOnlyList<PrecisionMove> Log => _log;

    /// <summary>Why FP8 is not used, on this device or for a shape.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>How many layers may be moved.</summary>
    public int Movable => _layers.Count(l => !l.KeptHigh);

    /// <summary>The layers and their precisions now, in the net's order.</summary>
    public IReadOnlyList<(string Layer, LayerPrecision Precision)> Layers => [.. _layers.Select(l => (l.Name, l.Policy.Precision))];

    /// <summary>Whether the step to come looks at the ranges: then it must run as written, not from a recording.</summary>
    public bool IsLooking { get; private set; }

    /// <summary>Counts changes of the way that layers multiply: a recording made before the last one is not the net's step any more.</summary>
    public int Version { get; private set; }

    /// <summary>The scales of the layers that are in FP8 now; belongs to <see cref="Save"/>.</summary>
    public IReadOnlyList<NamedTensor> State => [.. _layers.Where(l => l.Scales is not null).Select(l => new NamedTensor(l.Name, l.Scales!))];

    /// <summary>Between two steps: what, beside the tensors of <see cref="State"/>, the steps to come depend on.</summary>
    public PrecisionState Save() => new()
    {
        Step = _step,
        NextLook = _nextLook,
        Interval = _interval,
        Layers = [.. _layers.Select(l => l.State)],
        Guard = _guard.State,
        Pending = ReadPending(),
        Watched = [.. _watched.Select(l => l.Name)],
        Shapes = [.. _pays.Select(p => new ShapeSpeed(p.Key.Item1, p.Key.Item2, p.Key.Item3, p.Value))],
        Notes = [.. _notes],
        Log = [.. _log],
    };

    /// <summary>Goes on where another controller of such a net, with the same options, was; then <see cref="State"/> has the tensors to fill.</summary>
    /// <exception cref="ArgumentException">The layers are not those of this net.</exception>
    public void Restore(PrecisionState saved)
    {
        if (!saved.Layers.Select(l => l.Name).SequenceEqual(_layers.Select(l => l.Name)))
        {
            throw new ArgumentException("The saved precisions belong to another net.", nameof(saved));
        }
        (_step, _nextLook, _interval, _guard.State) = (saved.Step, saved.NextLook, saved.Interval, saved.Guard);
        foreach (var (layer, state) in _layers.Zip(saved.Layers))
        {
            layer.State = state;
        }
        if (saved.Pending.Count > 0)
        {
            var values = new float[_options.LossesAtOnce];
            for (_pending = 0; _pending < saved.Pending.Count; _pending++)
            {
                values[_pending] = (float)saved.Pending[_pending];
            }
            Losses().Tensor.Write<float>(values);
        }
        _watched.Clear();
        _watched.AddRange(_layers.Where(l => saved.Watched.Contains(l.Name)));
        _pays.Clear();
        foreach (var shape in saved.Shapes)
        {
            _pays[(shape.Rows, shape.Inputs, shape.Outputs)] = shape.Pays;
        }
        _notes.Clear();
        _notes.AddRange(saved.Notes);
        _log.Clear();
        _log.AddRange(saved.Log);
        Version++;
        BeginStep();
    }

    /// <summary>Ends a step with its training loss: judges the loss, and at every look the ranges.</summary>
    public void EndStep(double loss)
    {
        _step++;
        End(_guard.Step(loss));
    }

    /// <summary>The same with a loss of one element; one on a GPU is judged together with those of some steps, at the latest at the next look.</summary>
    public void EndStep(Tensor loss)
    {
        if (!loss.Device.IsCuda)
        {
            EndStep(loss.Item());
            return;
        }
        _step++;
        using (NoGrad.Enter())
        {
            using var scope = TensorScope.Open();
            Losses().Tensor.Narrow(0, _pending++, 1).CopyInPlace(loss.Detach().Reshape(1));
        }
        (MoveCause Cause, double Excess)? fault = null;
        if (IsLooking || _pending == _options.LossesAtOnce)
        {
            foreach (var value in ReadPending())
            {
                // Of several the first counts: what follows was measured with the layers that are now to blame.
                fault ??= _guard.Step(value);
            }
            _pending = 0;
        }
        End(fault);
    }

    private TensorHandle Losses()
    {
        if (_losses is null)
        {
            _losses = TensorHandle.Zeros(Dtype.Float32, _options.LossesAtOnce);
            _losses.MoveTo(_device);
        }
        return _losses;
    }

    private double[] ReadPending()
    {
        if (_pending == 0)
        {
            return [];
        }
        using var scope = TensorScope.Open();
        Span<float> values = stackalloc float[_options.LossesAtOnce];
        _losses!.Tensor.Read<float>(values);
        return [.. values[.._pending].ToArray().Select(v => (double)v)];
    }

    private void End((MoveCause Cause, double Excess)? fault)
    {
        if (fault is { } found)
        {
            TakeBack(found.Cause, found.Excess);
        }
        else if (IsLooking)
        {
            var moves = _log.Count;
            Decide();
            // A layer on its way down is not kept waiting.
            _interval = _log.Count > moves || _guard.Watching || Array.Exists(_layers, l => l.Policy.IsTrying || l.IsNew) ? _options.Interval
                : Math.Max(_options.Interval, Math.Min(2 * _interval, _options.LongestInterval));
        }
        if (IsLooking)
        {
            _nextLook = _step - 1 + _interval;
        }
        BeginStep();
    }

    /// <summary>Until disposed all layers multiply in the net's own precision: for measuring the net as it will be used.</summary>
    public IDisposable Pause() => new Suspension(this);

    /// <inheritdoc/>
    public void Dispose()
    {
        _losses?.Dispose();
        foreach (var layer in _layers)
        {
            layer.Dispose();
        }
    }

    private sealed class Suspension : IDisposable
    {
        private readonly PrecisionController _controller;

        internal Suspension(PrecisionController controller)
        {
            _controller = controller;
            foreach (var layer in controller._layers)
            {
                (layer.Paused, layer.Looking) = (true, false);
            }
        }

        public void Dispose()
        {
            Array.ForEach(_controller._layers, l => l.Paused = false);
            _controller.BeginStep();
        }
    }

    private void BeginStep()
    {
        IsLooking = _step >= _nextLook;
        foreach (var layer in _layers)
        {
            layer.Looking = IsLooking && !layer.KeptHigh;
        }
    }

    private void Decide()
    {
        var lowered = false;
        foreach (var layer in _layers.Where(l => !l.KeptHigh))
        {
            if (layer.Take() is not { } look)
            {
                continue;
            }
            var before = layer.Policy.Precision;
            // While a lowering is judged no other layer is lowered: the loss would not tell which one was to blame.
            var lowest = _guard.Watching ? before : before == LayerPrecision.Half && !Pays(layer) ? LayerPrecision.Half : _lowest;
            if (layer.Policy.Decide(look, lowest) is not { } move)
            {
                continue;
            }
            Note(layer, before, move);
            if (move.To < before)
            {
                _watched.RemoveAll(_ => !lowered);
                _watched.Add(layer);
                lowered = true;
            }
        }
        if (lowered)
        {
            _guard.Watch();
        }
    }

    // The layers lowered last, or else the one that fits its format worst.
    private void TakeBack(MoveCause cause, double excess)
    {
        var blamed = _watched.Where(l => l.Policy.Precision < LayerPrecision.Float32).ToList();
        if (blamed.Count == 0 && _layers.Where(l => !l.KeptHigh && l.Policy.Precision == LayerPrecision.Float8).MaxBy(l => l.Underflow) is { } worst)
        {
            blamed.Add(worst);
        }
        foreach (var layer in blamed)
        {
            var before = layer.Policy.Precision;
            Note(layer, before, layer.Policy.Return(cause, RangeOf.Nothing, excess));
        }
        _watched.Clear();
    }

    private void Note(ControlledLayer layer, LayerPrecision before, (LayerPrecision To, MoveCause Cause, RangeOf Tensor, double Evidence) move)
    {
        _log.Add(new PrecisionMove(_step, layer.Name, before, move.To, move.Cause, move.Tensor, move.Evidence));
        layer.Apply();
        Version++;
        _interval = _options.Interval;
    }

    /// <summary>Whether FP8 is possible and faster for the layer's shape; measured once for each.</summary>
    private bool Pays(ControlledLayer layer)
    {
        if (_lowest != LayerPrecision.Float8)
        {
            return false;
        }
        if (_options.Emulate && _options.Speedup is null)
        {
            return true;
        }
        var (rows, inputs, outputs) = layer.Shape;
        if (!_pays.TryGetValue(layer.Shape, out var pays))
        {
            var fits = Fp8.Fits(rows, inputs, outputs);
            var speedup = fits ? (_options.Speedup ?? ((m, k, n) => PrecisionProbe.Speedup(_device, _options.Half, m, k, n, _rounded, _options.UnderAutocast)))(rows, inputs, outputs) : 0;
            _pays[layer.Shape] = pays = speedup >= _options.LeastSpeedup;
            if (!pays)
            {
                _notes.Add(FormattableString.Invariant($"FP8 is off for {rows} rows of {inputs} → {outputs}: {(fits ? $"it runs at {speedup:f2} times the speed of {_options.Half}" : "not all sizes are multiples of 16")}."));
            }
        }
        return pays;
    }
}
