using DeepSeek.Contracts.Training;
using DeepSeek.Engine;
using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Trainer;

/// <summary>One optimiser step on a device, in the plan's precision, as written or captured. It is the same code for all of them.</summary>
internal sealed class TrainingStep : IDisposable
{
    private const int CaptureWarmup = 3;

    // Set to 1, layers go to FP8 on any machine, computed in float32 from the codes: a rehearsal of a run's numbers.
    private const string EmulateFp8 = "DEEPSEEK_EMULATE_FP8";
    private readonly RunSpec _spec;
    private readonly ComputePlan _compute;
    private readonly Module _net;
    private readonly Objective _objective;
    private readonly Optimizer _optimizer;
    private readonly LossScaler? _scaler;
    private readonly PrecisionController? _layers;
    private readonly AdaptiveOptimizer? _between; // decides between steps: on a GPU, so that no step waits for its loss
    private Capture? _capture;
    private int _version;
    private int _stage;
    private double _observed;
    private double? _read; // the last batch's loss, where the optimiser had to know it

    internal TrainingStep(RunSpec spec, ComputePlan compute, Module net, Objective objective, Optimizer optimizer)
    {
        (_spec, _compute, _net, _objective, _optimizer) = (spec, compute, net, objective, optimizer);
        _scaler = compute.Precision == RunPrecision.Fp16 ? new LossScaler(compute.Device) : null;
        if (compute.Precision == RunPrecision.Adaptive)
        {
            // A gpt's head is its table of tokens, which no layer multiplies.
            _layers = new PrecisionController(net, new PrecisionOptions
            {
                KeepHigh = net is Gpt ? _ => false : null,
                UnderAutocast = !compute.HalfWeights,
                Emulate = Environment.GetEnvironmentVariable(EmulateFp8) == "1",
            });
            if (_layers.Movable == 0)
            {
                _layers.Dispose();
                throw new BadInputException("precision", "adaptive moves linear layers between number formats, and this model has none but its head. Choose bf16, fp16, fp32 or auto.");
            }
        }
        _between = compute.Device.IsCuda && spec.GradientAccumulation == 1 ? optimizer as AdaptiveOptimizer : null;
        _capture = compute.Capture ? NewCapture(CaptureWarmup) : null;
    }

    /// <summary>Measures the parts of the steps that are taken as written, while it is set.</summary>
    internal MemoryPhases? Phases { get; set; }

    /// <summary>Why steps that should have been captured are not; null while nothing is in the way.</summary>
    internal string? Hindrance { get; private set; }

    /// <summary>Whether steps are replayed from a recording by now.</summary>
    internal bool IsCaptured => _capture?.Mode == CaptureMode.Replay;

    /// <summary>Who moves layers between precisions, where the plan is adaptive.</summary>
    internal PrecisionController? Layers => _layers;

    /// <summary>State that a later step depends on besides the optimiser's.</summary>
    internal IReadOnlyList<NamedTensor> State => _scaler?.State ?? _layers?.State ?? [];

    /// <summary>Steps to come compute something else than those of another stage: what was captured of these does not serve.</summary>
    internal void EnterStage(int stage)
    {
        if (_capture is { Runs: > 0 } && stage != _stage)
        {
            _capture.Dispose();
            _capture = NewCapture(CaptureWarmup);
        }
        _stage = stage;
    }

    /// <summary>A whole step over one batch; returns its loss.</summary>
    /// <param name="full">Whether the batch has the usual number of rows: a captured step takes no others.</param>
    internal StepLoss Run(Tensor features, Tensor target, double rate, bool full)
    {
        _optimizer.LearningRate = rate;
        _between?.Advance();
        _read = null;
        var loss = _capture is null || !full || _layers is { IsLooking: true } ? Whole(features, target) : Replay(features, target);
        _between?.Observe(loss);
        var told = _read is { } value ? new StepLoss(loss, value) : StepLoss.Of(loss, now: false);
        if (told.Value is { } known)
        {
            _layers?.EndStep(known);
        }
        else
        {
            _layers?.EndStep(loss);
        }
        return told;
    }

    private Capture NewCapture(int warmup) => new(_compute.Device, inputs => Whole(inputs[0], inputs[1]), warmup);

    private Tensor Replay(Tensor features, Tensor target)
    {
        var version = (_layers?.Version ?? 0) + (_between?.Version ?? 0);
        if (version != _version)
        {
            // What was recorded multiplies as the layers did before a move, or drops as many as before.
            _capture!.Dispose();
            (_capture, _version) = (NewCapture(warmup: 1), version);
        }
        try
        {
            return _capture!.Run(features, target);
        }
        catch (CaptureException fault) when (_spec.Capture == CaptureChoice.Auto)
        {
            // Nothing of the step was done on the device: it is taken as written, and so are all after it.
            Hindrance = fault.Message;
            _capture!.Dispose();
            _capture = null;
            _optimizer.ClearGradients();
            return Whole(features, target);
        }
    }

    /// <summary>Forward and backward pass of one batch among several that make a step.</summary>
    internal StepLoss Accumulate(Tensor features, Tensor target)
    {
        var loss = StepLoss.Of(Pass(features, target), now: _optimizer is AdaptiveOptimizer || _layers is not null);
        _observed += loss.Value ?? 0;
        return loss;
    }

    private Tensor Pass(Tensor features, Tensor target)
    {
        Tensor loss;
        using (Phase("forward"))
        {
            loss = Loss(features, target);
        }
        using (Phase("backward"))
        {
            (_scaler?.Scale(loss) ?? loss).Backward();
        }
        return loss;
    }

    /// <summary>The loss in the plan's precision.</summary>
    internal Tensor Loss(Tensor features, Tensor target) => _objective.Loss(_net, features, target, _compute.Device.Type, _compute.Autocast);

    /// <summary>Updates the weights from the gradients of so many batches.</summary>
    internal void Update(int batches)
    {
        var mean = _observed / batches;
        (_optimizer as AdaptiveOptimizer)?.Observe(mean);
        _observed = 0;
        Apply(batches);
        _layers?.EndStep(mean);
    }

    private void Apply(int batches)
    {
        using var phase = Phase("optimizer");
        _scaler?.Unscale(_optimizer);
        if (batches > 1)
        {
            _optimizer.ScaleGradients(1.0 / batches);
        }
        if (_spec.ClipNorm > 0)
        {
            _optimizer.LimitGradients(_spec.ClipNorm);
        }
        if (_scaler is not null)
        {
            _scaler.Step(_optimizer);
        }
        else
        {
            _optimizer.Step();
        }
        _optimizer.ClearGradients();
    }

    /// <summary>Sets the rate of the update to come.</summary>
    internal void Rate(double rate) => _optimizer.LearningRate = rate;

    public void Dispose()
    {
        _capture?.Dispose();
        _scaler?.Dispose();
        _layers?.Dispose();
    }

    private MemoryPhases.Phase Phase(string name) => Phases is null ? default : Phases.Enter(name);

    private Tensor Whole(Tensor features, Tensor target)
    {
        var loss = Pass(features, target);
        if (_between is null && _optimizer is AdaptiveOptimizer adaptive)
        {
            _read = loss.Item();
            adaptive.Observe(_read.Value);
        }
        Apply(1);
        return loss;
    }
}
