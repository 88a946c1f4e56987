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

    /// <summary>Starts without momentum built up.</summary>
    public Sgd(Module module, double weightDecay = 0, double momentum = 0.9, bool nesterov = false) : base(module)
    {
        (_weightDecay, _momentum, _nesterov) = (weightDecay, momentum, nesterov);
        _buffers = momentum > 0 ? AddState("momentum") : null;
    }

    /// <inheritdoc/>
    protected override void Update(double learningRate)
    {
        Update(learningRate, 0, Decayed, _weightDecay);
        Update(learningRate, Decayed, Count, 0);
    }

    private void Update(double learningRate, int from, int to, double weightDecay)
    {
        var step = new NativeSgd
        {
            Size = (uint)sizeof(NativeSgd),
            Count = to - from,
            Nesterov = _nesterov ? 1 : 0,
            FirstStep = Steps == 1 ? 1 : 0,
            LearningRate = learningRate,
            WeightDecay = weightDecay,
            Momentum = _momentum,
            Parameters = Handles + from,
            Buffers = _buffers is null ? null : Address(_buffers) + from,
        };
        NativeMethods.Check(NativeMethods.ds_optim_sgd(&step));
    }
}
