using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Optim;

/// <summary>
/// Parameters and the gradient work that all update rules share. Weight decay falls on matrices and kernels, or on what a rule of
/// <see cref="DecayRule"/> says.
/// </summary>
public abstract unsafe class Optimizer : IDisposable
{
    private readonly NamedTensor[] _parameters;
    private readonly nint[] _handles;
    private readonly nint[]? _masters;
    private readonly TensorHandle? _control;
    private readonly List<NamedTensor> _state = [];
    private long _steps;
    private double _norm;

    /// <summary>Takes a module's parameters, those that decay first; <paramref name="decays"/> says which, by default <see cref="DecayRule.Matrices"/>.</summary>
    protected Optimizer(Module module, Func<NamedTensor, bool>? decays = null)
    {
        var groups = module.Parameters().ToLookup(decays ?? DecayRule.Matrices);
        _parameters = [.. groups[true], .. groups[false]];
        Decayed = groups[true].Count();
        _handles = Pin(_parameters);
        if (_parameters.Any(p => IsHalf(p)))
        {
            _masters = AddMasters(module.AllPrecise().ToDictionary(p => p.Rounded.Native, p => p.Precise));
        }
        if (module.Device.IsCuda)
        {
            _control = TensorHandle.Zeros(Dtype.Float32, 8);
            _control.MoveTo(module.Device);
        }
    }

    /// <summary>Steps taken and not left out; on a GPU it waits for the device.</summary>
    public long Steps => _control is null ? _steps : (long)Control()[1];

    /// <summary>
    /// The rate of the following steps. On a GPU it is sent to the device without waiting, where replays of a captured step find it.
    /// </summary>
    public double LearningRate
    {
        get;
        set
        {
            if (Recording.IsActive)
            {
                throw new CaptureException("The learning rate would be frozen into the captured step. Set LearningRate before Run() and call Step() without a rate inside.");
            }
            field = value;
            if (_control is not null)
            {
                NativeMethods.Check(NativeMethods.ds_optim_set_rate(_control.Native, value));
            }
        }
    } = double.NaN;

    /// <summary>Everything besides <see cref="Steps"/> that a later step depends on.</summary>
    public IReadOnlyList<NamedTensor> State => _state;

    /// <summary>The first so many parameters decay.</summary>
    protected int Decayed { get; }

    /// <summary>Number of parameters.</summary>
    protected internal int Count => _parameters.Length;

    /// <summary>Parameters, those that decay first.</summary>
    private protected IReadOnlyList<NamedTensor> Parameters => _parameters;

    /// <summary>Handles of the parameters, pinned.</summary>
    internal nint* Handles => Address(_handles);

    /// <summary>Handles of the float32 masters, or null where all parameters are float32 themselves.</summary>
    private protected nint* Masters => _masters is null ? null : Address(_masters);

    /// <summary>The device's copy of rate and step count, or 0 on the CPU.</summary>
    private protected nint ControlHandle => _control?.Native ?? 0;

    /// <summary>Flag of the running step, or 0.</summary>
    private protected nint Skip { get; private set; }

    /// <summary>Updates every parameter that has a gradient, at this rate from now on.</summary>
    public void Step(double learningRate)
    {
        LearningRate = learningRate;
        Step();
    }

    /// <summary>Updates every parameter that has a gradient, at <see cref="LearningRate"/>.</summary>
    public void Step() => Step(null);

    /// <summary>The same, unless <paramref name="skip"/> (float32, one element) is not zero.</summary>
    internal void Step(TensorHandle? skip)
    {
        if (double.IsNaN(LearningRate))
        {
            throw new InvalidOperationException("The optimiser has no learning rate yet: set LearningRate or pass one to Step().");
        }
        if (_control is null && skip is not null && skip.Tensor.ReadScalar() != 0)
        {
            return;
        }
        using var phase = Phase();
        _steps++;
        Skip = skip?.Native ?? 0;
        Update(LearningRate, _steps);
        Skip = 0;
        GC.KeepAlive(skip);
        GC.KeepAlive(this);
    }

    /// <summary>Drops all gradients.</summary>
    public void ClearGradients()
    {
        using var phase = Phase();
        NativeMethods.Check(NativeMethods.ds_autograd_clear_grads(Handles, Count));
        GC.KeepAlive(this);
    }

    /// <summary>Scales all gradients so that their common L2 norm is at most <paramref name="limit"/> (0 only measures); returns the norm before.</summary>
    public double ClipGradients(double limit)
    {
        Recording.RefuseHostAccess("ClipGradients()");
        using var phase = Phase();
        double norm;
        NativeMethods.Check(NativeMethods.ds_optim_clip(Handles, Count, limit, &norm));
        GC.KeepAlive(this);
        return norm;
    }

    /// <summary>The same without telling the norm: nothing waits for the device, so a captured step may hold it.</summary>
    public void LimitGradients(double limit)
    {
        using var phase = Phase();
        NativeMethods.Check(NativeMethods.ds_optim_clip(Handles, Count, limit, null));
        GC.KeepAlive(this);
    }

    /// <summary>The same by a limit that the device's copy of what changes between steps holds, or on the CPU by this one. The norm is then <see cref="LastNorm"/>.</summary>
    private protected void LimitGradientsAsSent(double limit)
    {
        using var phase = Phase();
        if (_control is not null)
        {
            NativeMethods.Check(NativeMethods.ds_optim_clip_by(Handles, Count, _control.Native));
            return;
        }
        double norm;
        NativeMethods.Check(NativeMethods.ds_optim_clip(Handles, Count, limit, &norm));
        _norm = norm;
    }

    /// <summary>Of all gradients before they were limited as sent; on a GPU it waits for the device.</summary>
    private protected double LastNorm => _control is null ? _norm : Control()[7];

    /// <summary>Multiplies all gradients.</summary>
    public void ScaleGradients(double factor)
    {
        using var phase = Phase();
        NativeMethods.Check(NativeMethods.ds_optim_scale(Handles, Count, factor));
        GC.KeepAlive(this);
    }

    /// <summary>Continues after so many steps; the state tensors are restored by the caller.</summary>
    public virtual void ContinueAfter(long steps)
    {
        _steps = steps;
        _control?.Tensor.Write<float>([(float)LearningRate, steps, 0, 0, 0, 0, 0, 0]);
    }

    /// <summary>
    /// Until disposed, the parameters hold the weights that are to be measured and kept. Null for update rules that train those
    /// very weights.
    /// </summary>
    public virtual IDisposable? UseAverage() => null;

    /// <summary>Frees the state; the parameters stay.</summary>
    public void Dispose()
    {
        foreach (var (_, tensor) in _state)
        {
            tensor.Dispose();
        }
        _control?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The update rule.</summary>
    protected abstract void Update(double learningRate, long step);

    /// <summary>Adds one zeroed state tensor per parameter and returns their pinned handles.</summary>
    private protected nint[] AddState(string name)
    {
        var tensors = _parameters.Select(p => new NamedTensor($"{name}.{p.Name}", TensorHandle.ZerosLike(p.Tensor.Tensor, IsHalf(p) ? Dtype.Float32 : p.Tensor.Tensor.Dtype))).ToArray();
        _state.AddRange(tensors);
        return Pin(tensors);
    }

    /// <summary>Adds state that is no parameter's; it is freed with the rest.</summary>
    private protected void AddShared(NamedTensor tensor) => _state.Add(tensor);

    private protected static nint* Address(nint[] pinned) => (nint*)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(pinned, 0);

    /// <summary>The update as an operator of a trace: its name, and all parameters as one tensor.</summary>
    private protected TraceRange Traced(string name)
    {
        if (!Trace.IsRunning)
        {
            return default;
        }
        var type = _parameters.Length == 0 ? Dtype.Float32 : _parameters[0].Tensor.Tensor.Dtype;
        return Trace.Enter(TraceEventKind.Operator, FormattableString.Invariant($"deepseek::{name}|T{(int)type}:{(_control is null ? 0 : 1)}[{_parameters.Sum(p => p.Tensor.Tensor.Elements)}]|"));
    }

    private static TraceRange Phase() => Trace.IsRunning ? Trace.Enter(TraceEventKind.Phase, TraceTree.Optimizer) : default;

    private static bool IsHalf(NamedTensor parameter) => parameter.Tensor.Tensor.Dtype is Dtype.BFloat16 or Dtype.Float16;

    private float[] Control() => _control!.Tensor.ToArray<float>();

    private nint[] AddMasters(Dictionary<nint, TensorHandle> precise)
    {
        var masters = GC.AllocateArray<nint>(_parameters.Length, pinned: true);
        for (var i = 0; i < masters.Length; i++)
        {
            if (IsHalf(_parameters[i]))
            {
                var master = MasterOf(_parameters[i].Tensor, precise);
                _state.Add(new NamedTensor($"master.{_parameters[i].Name}", master));
                masters[i] = master.Native;
            }
        }
        return masters;
    }

    private static TensorHandle MasterOf(TensorHandle parameter, Dictionary<nint, TensorHandle> precise)
    {
        using var scope = TensorScope.Open();
        if (precise.TryGetValue(parameter.Native, out var original))
        {
            return original.Tensor.Keep();
        }
        using var recording = NoGrad.Enter();
        var master = TensorHandle.ZerosLike(parameter.Tensor, Dtype.Float32);
        master.Tensor.CopyInPlace(parameter.Tensor);
        return master;
    }

    private static nint[] Pin(NamedTensor[] tensors)
    {
        // Never empty, so that the first element has an address.
        var handles = GC.AllocateArray<nint>(Math.Max(1, tensors.Length), pinned: true);
        for (var i = 0; i < tensors.Length; i++)
        {
            handles[i] = tensors[i].Tensor.Native;
        }
        return handles;
    }
}
