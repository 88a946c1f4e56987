using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// Moves a net's linear layers between FP8, half precision and Float32 by the ranges of their inputs, weights and gradients, and takes
/// moves back when the loss is worse for them. Parameters stay as they are: float32, or rounded to the half precision of the options by
/// <see cref="Module.ToPrecision"/>, which is faster (use no <see cref="Autocast"/> beside it). Heads, norms, embeddings and convolutions
/// keep the net's own precision. Call <see cref="EndStep"/> after every backward pass,
/// before gradients are cleared. Layers get their way of multiplying by hooks, which disposing removes: do so before exporting the net.
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

    /// <summary>Takes the net's layers in hand: modules without parts whose <c>weight</c> is a matrix, but for embeddings.</summary>
    public PrecisionController(Module net, PrecisionOptions? options = null)
    {
        _options = options ??= new PrecisionOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Interval, 1, nameof(options));
        _device = net.Device;
        if (options.Half is not (Dtype.BFloat16 or Dtype.Float16) || (options.Half == Dtype.Float16 && !_device.IsCuda))
        {
            throw new ArgumentException("Half precision is BFloat16, or Float16 on a GPU.", nameof(options));
        }
        _lowest = options.Lowest;
        if (options.Lowest == LayerPrecision.Float8 && !options.Emulate && Fp8.Missing(_device) is { } missing)
        {
            _lowest = LayerPrecision.Half;
            _notes.Add($"FP8 is off: {missing}.");
        }
        if (options.Start < _lowest || (options.Start == LayerPrecision.Float8 && !options.Emulate))
        {
            throw new ArgumentException("Layers begin in half precision or above and get FP8 where it pays.", nameof(options));
        }
        var found = net.Modules().Where(m => m.Module is not Embedding && !m.Module.Modules().Any())
            .Select(m => (m.Name, m.Module, Weight: m.Module.Parameters().FirstOrDefault(p => p.Name == "weight" && p.Tensor.Tensor.Rank == 2).Tensor))
            .Where(m => m.Weight is not null).ToArray();
        _rounded = found.Length > 0 && found[0].Weight.Tensor.Dtype != Dtype.Float32;
        var own = _rounded ? options.Half : Dtype.Float32;
        if (found.FirstOrDefault(m => m.Weight.Tensor.Dtype != own) is { Name: { } other } odd)
        {
            throw new ArgumentException($"The weight of {other} is {odd.Weight.Tensor.Dtype}; the controller takes a net of float32 weights, or one rounded to {options.Half} by ToPrecision.", nameof(net));
        }
        var head = found.LastOrDefault().Name;
        _layers = [.. found.Select(m => new ControlledLayer(m.Name, m.Module, m.Weight, options.KeepHigh?.Invoke(m.Name) ?? m.Name == head, options))];
        _guard = new LossGuard(options.GuardSteps, options.LossTolerance);
        BeginStep();
    }

    /// <summary>Every move with its cause, oldest first.</summary>
    public IReadOnlyList<PrecisionMove> Log => _log;

    /// <summary>Why FP8 is not used, on this device or for a shape.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>The layers and their precisions now, in the net's order.</summary>
    public IReadOnlyList<(string Layer, LayerPrecision Precision)> Layers => [.. _layers.Select(l => (l.Name, l.Policy.Precision))];

    /// <summary>Ends a step with its training loss: judges the loss, and every <see cref="PrecisionOptions.Interval"/> steps the ranges.</summary>
    public void EndStep(double loss)
    {
        LinearMode.Current = null; // in case a layer threw
        _step++;
        if (_guard.Step(loss) is { } fault)
        {
            TakeBack(fault.Cause, fault.Excess);
        }
        else if (_layers.Any(l => l.Looking))
        {
            Decide();
        }
        BeginStep();
    }

    /// <summary>Until disposed all layers multiply in the net's own precision: for measuring the net as it will be used.</summary>
    public IDisposable Pause() => new Suspension(_layers);

    /// <inheritdoc/>
    public void Dispose()
    {
        LinearMode.Current = null;
        foreach (var layer in _layers)
        {
            layer.Dispose();
        }
    }

    private sealed class Suspension : IDisposable
    {
        private readonly ControlledLayer[] _layers;

        internal Suspension(ControlledLayer[] layers)
        {
            _layers = layers;
            Array.ForEach(layers, l => l.Paused = true);
        }

        public void Dispose() => Array.ForEach(_layers, l => l.Paused = false);
    }

    private void BeginStep()
    {
        foreach (var layer in _layers)
        {
            layer.Looking = !layer.KeptHigh && _step % _options.Interval == 0;
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
            var speedup = fits ? (_options.Speedup ?? ((m, k, n) => PrecisionProbe.Speedup(_device, _options.Half, m, k, n, _rounded)))(rows, inputs, outputs) : 0;
            _pays[layer.Shape] = pays = speedup >= _options.LeastSpeedup;
            if (!pays)
            {
                _notes.Add(FormattableString.Invariant($"FP8 is off for {rows} rows of {inputs} → {outputs}: {(fits ? $"it runs at {speedup:f2} times the speed of {_options.Half}" : "not all sizes are multiples of 16")}."));
            }
        }
        return pays;
    }
}
