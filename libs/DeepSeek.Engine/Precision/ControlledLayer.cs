using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>A layer under control: its way of multiplying, and what was last seen of its input, weight and gradient.</summary>
internal sealed class ControlledLayer : IDisposable
{
    // Least numbers and largest ones: half of a format's least number still rounds up to it.
    private const double LeastHalf = 5.9604644775390625e-08;
    private const double LargestHalf = 65504;
    private const double LeastBFloat16 = 9.18354961579912e-41;

    private readonly PrecisionOptions _options;
    private readonly Module _module;
    private readonly TensorHandle _weight;
    private readonly double[][] _maxima = [[], [], []];
    private IDisposable[] _hooks = [];
    private Fp8Linear? _float8;
    private RangeLook _look;
    private double _underflow;

    internal ControlledLayer(string name, Module module, TensorHandle weight, bool keptHigh, PrecisionOptions options)
    {
        (Name, KeptHigh, _module, _options, _weight) = (name, keptHigh, module, options, weight);
        Policy = new LayerPolicy(options, keptHigh ? IsRounded ? LayerPrecision.Half : LayerPrecision.Float32 : options.Start);
        Apply();
    }

    internal string Name { get; }

    internal bool KeptHigh { get; }

    internal LayerPolicy Policy { get; }

    /// <summary>Whether the net keeps this weight in half precision.</summary>
    private bool IsRounded => _weight.Tensor.Dtype != Dtype.Float32;

    /// <summary>Whether the passes of this step are looked at: by hooks, which keep a net from joining layers, so that there are none at other times.</summary>
    internal bool Looking
    {
        get;
        set
        {
            if (field == value)
            {
                return;
            }
            field = value;
            Array.ForEach(_hooks, h => h.Dispose());
            _hooks = value
                ? [_module.OnPass(HookPlace.Input, (_, x) => Enter(x)), _module.OnPass(HookPlace.OutputGradient, (_, g) => Look(RangeOf.Gradient, g, Fp8Format.E5M2))]
                : [];
        }
    }

    /// <summary>Whether the layer multiplies in the net's own precision for now, unseen.</summary>
    internal bool Paused
    {
        get;
        set
        {
            field = value;
            Apply();
        }
    }

    /// <summary>The scales of FP8, when it is in it.</summary>
    internal TensorHandle? Scales => _float8?.State;

    /// <summary>What later decisions depend on; setting it makes FP8's scales anew, for the caller to fill.</summary>
    internal LayerState State
    {
        get => new(Name, Policy.Precision, Policy.State.Patience, Policy.State.Good, [.. _maxima.Select(m => m.ToArray())], Shape.Rows, Shape.Inputs, Shape.Outputs, _underflow,
            _float8?.Ready.Forward ?? false, _float8?.Ready.Backward ?? false);
        set
        {
            Policy.State = (value.Precision, value.Patience, value.Good);
            for (var i = 0; i < _maxima.Length; i++)
            {
                _maxima[i] = value.Maxima[i];
            }
            (Shape, _underflow) = ((value.Rows, value.Inputs, value.Outputs), value.Underflow);
            Apply();
            if (_float8 is not null)
            {
                _float8.Ready = (value.ScaledForward, value.ScaledBackward);
            }
        }
    }

    /// <summary>Rows, inputs and outputs of its last product.</summary>
    internal (long Rows, long Inputs, long Outputs) Shape { get; private set; }

    /// <summary>The largest share of a tensor that the last look saw below FP8's numbers.</summary>
    internal double Underflow => _underflow;

    /// <summary>Whether it was looked at once: only from the second time on is there a scale to compare with.</summary>
    internal bool IsNew => Array.Exists(_maxima, m => m.Length == 1);

    /// <summary>What was seen since the last call, with the weight as it is now; null when no pass was seen twice yet.</summary>
    internal RangeLook? Take()
    {
        using var scope = TensorScope.Open();
        Look(RangeOf.Weight, _weight.Tensor, Fp8Format.E4M3);
        var look = _look;
        var complete = _maxima.All(m => m.Length > 1);
        (_look, _underflow) = (default, look.Float8.Underflow);
        return complete ? look : null;
    }

    /// <summary>Follows the policy's precision.</summary>
    internal void Apply()
    {
        if (Policy.Precision != LayerPrecision.Float8)
        {
            _float8?.Dispose();
            _float8 = null;
        }
        LinearMode? mode = Policy.Precision switch
        {
            LayerPrecision.Float8 => new Float8Mode(_float8 ??= new Fp8Linear(_options.History, _options.Margin, _weight.Tensor.Device), _options.UnderAutocast ? _options.Half : null),
            LayerPrecision.Half => IsRounded || _options.UnderAutocast ? null : new HalfMode(_options.Half),
            _ => IsRounded ? new Float32Mode() : _options.UnderAutocast ? new Float32Mode(stays: true) : null,
        };
        _module.Products = Paused ? null : mode;
    }

    public void Dispose()
    {
        Looking = false;
        _module.Products = null;
        _float8?.Dispose();
    }

    private Tensor Enter(Tensor x)
    {
        var (outputs, inputs) = (_weight.Tensor.Size(0), x.Size(-1));
        Shape = (x.Elements / Math.Max(1, inputs), inputs, outputs == inputs ? _weight.Tensor.Size(1) : outputs);
        return Look(RangeOf.Input, x, Fp8Format.E4M3);
    }

    private Tensor Look(RangeOf of, Tensor values, Fp8Format format)
    {
        if (Checkpoint.IsRecomputing && of == RangeOf.Input)
        {
            return default; // seen already
        }
        using var scope = TensorScope.Open();
        using var unrecorded = NoGrad.Enter();
        // The scale that delayed scaling would have used for this tensor.
        ref var maxima = ref _maxima[(int)of - 1];
        var scale = Scale(maxima, format);
        var half = _options.Half == Dtype.Float16;
        Span<double> seen = stackalloc double[7];
        Fp8.Range(values.Detach(), [Fp8.Least(format) / 2 / scale, half ? LeastHalf / 2 : LeastBFloat16 / 2], [Fp8.Largest(format) / scale, half ? LargestHalf : float.MaxValue])
            .Read<double>(seen);
        if (maxima.Length > 0)
        {
            var count = Math.Max(1, seen[1]);
            _look = new RangeLook(_look.Float8.With(seen[3] / count, seen[4] / count, of), _look.Half.With(seen[5] / count, seen[6] / count, of),
                Math.Max(_look.NotFinite, seen[2]), seen[2] > _look.NotFinite ? of : _look.Broken);
        }
        maxima = [.. maxima.TakeLast(_options.History - 1), seen[0]];
        return default;
    }

    private double Scale(double[] maxima, Fp8Format format)
    {
        var most = maxima.DefaultIfEmpty().Max();
        return most > 0 ? Math.Pow(2, Math.Floor(Math.Log2(Fp8.Largest(format) / most)) - _options.Margin) : 1;
    }
}
