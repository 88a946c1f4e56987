using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;

namespace DeepSeek.Engine.Optim;

/// <summary>Adam with decoupled weight decay (Loshchilov &amp; Hutter, arXiv 1711.05101, algorithm 2).</summary>
public unsafe class AdamW : Optimizer
{
    private readonly double _beta1;
    private readonly double _beta2;
    private readonly double _epsilon;
    private readonly nint[] _first;
    private readonly nint[] _second;

    /// <summary>Starts with zero moments; <paramref name="decays"/> is a rule of <see cref="DecayRule"/> or one's own, by default matrices and kernels.</summary>
    public AdamW(Module module, double weightDecay = 1e-2, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, Func<NamedTensor, bool>? decays = null) : base(module, decays)
    {
        (WeightDecay, _beta1, _beta2, _epsilon) = (weightDecay, beta1, beta2, epsilon);
        _first = AddState("first");
        _second = AddState("second");
    }

    /// <summary>Decay of the parameters that decay per step, in units of the learning rate.</summary>
    public double WeightDecay { get; private protected set; }

    /// <summary>Handles of the running means of squares, pinned.</summary>
    private protected nint* Second => Address(_second);

    /// <inheritdoc/>
    protected override void Update(double learningRate, long step)
    {
        var arguments = new NativeAdamW
        {
            Size = (uint)sizeof(NativeAdamW),
            Count = Count,
            Decayed = Decayed,
            Step = step,
            LearningRate = learningRate,
            WeightDecay = WeightDecay,
            Beta1 = _beta1,
            Beta2 = _beta2,
            Epsilon = _epsilon,
            Parameters = Handles,
            First = Address(_first),
            Second = Address(_second),
            Masters = Masters,
            Control = ControlHandle,
            Skip = Skip,
        };
        using var traced = Traced("adamw");
        NativeMethods.Check(NativeMethods.ds_optim_adamw(&arguments));
    }
}
