using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;

namespace DeepSeek.Engine.Optim;

/// <summary>Stochastic gradient descent with momentum, optionally Nesterov's (Sutskever et al., ICML 2013, in PyTorch's wording).</summary>
public sealed unsafe class Sgd : Optimizer
{
    private readonly double _weightDecay;
    private readonly double _momentum;
    private readonly bool _nesterov;
    private readonly nint[]? _buffers;

    /// <summary>Starts without momentum built up; <paramref name="decays"/> is a rule of <see cref="DecayRule"/> or one's own, by default matrices and kernels.</summary>
    public Sgd(Module module, double weightDecay = 0, double momentum = 0.9, bool nesterov = false, Func<NamedTensor, bool>? decays = null) : base(module, decays)
    {
        (_weightDecay, _momentum, _nesterov) = (weightDecay, momentum, nesterov);
        _buffers = momentum > 0 ? AddState("momentum") : null;
    }

    /// <inheritdoc/>
    protected override void Update(double learningRate, long step)
    {
        var arguments = new NativeSgd
        {
            Size = (uint)sizeof(NativeSgd),
            Count = Count,
            Decayed = Decayed,
            Nesterov = _nesterov ? 1 : 0,
            FirstStep = step == 1 ? 1 : 0,
            LearningRate = learningRate,
            WeightDecay = _weightDecay,
            Momentum = _momentum,
            Parameters = Handles,
            Buffers = _buffers is null ? null : Address(_buffers),
            Masters = Masters,
            Control = ControlHandle,
            Skip = Skip,
        };
        using var traced = Traced("sgd");
        NativeMethods.Check(NativeMethods.ds_optim_sgd(&arguments));
    }
}
