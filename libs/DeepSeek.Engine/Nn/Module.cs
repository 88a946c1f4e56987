using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Profiling;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>A tensor of a module under its dotted path, such as <c>blocks.0.weight</c>.</summary>
public readonly record struct NamedTensor(string Name, TensorHandle Tensor);

/// <summary>A layer or net: a function with weights.</summary>
public abstract class Module : IDisposable
{
    private ModuleHooks? _hooks;
    private readonly List<NamedTensor> _parameters = [];
    private readonly List<NamedTensor> _buffers = [];
    private readonly List<NamedTensor> _derived = [];
    private readonly List<(TensorHandle Rounded, TensorHandle Precise)> _precise = [];
    private readonly List<(string Name, Module Module)> _children = [];

    /// <summary>Whether dropout drops and batch normalisation learns.</summary>
    public bool Training { get; private set; } = true;

    /// <summary>Whether its activations are dropped behind the forward pass and computed again in the backward pass; see <see cref="Checkpoint"/>.</summary>
    public bool Recomputes { get; set; }

    /// <summary>Whether it is a link of a chain, such as a residual block, that is worth computing again as a whole.</summary>
    public virtual bool IsSegment => false;

    /// <summary>What it can keep beside its output when it recomputes, in the order in which it is worth its memory.</summary>
    public virtual IReadOnlyList<Keepable> Keepables => [];

    /// <summary>How many of the first <see cref="Keepables"/> it keeps when it recomputes; 1 by itself.</summary>
    public int Keeps { get; set; } = 1;

    /// <summary>Computes the output.</summary>
    public Tensor Forward(Tensor x) => Recomputes ? Checkpoint.Run(Pass, x) : Pass(x);

    /// <summary>The pass itself with its hooks; a module that takes further tensors puts it into a <see cref="Checkpoint"/> of its own.</summary>
    protected Tensor Pass(Tensor x) => _hooks is null && Products is null && !Trace.IsRunning ? Compute(x) : Observed(x);

    /// <summary>How its matrix products are made while it trains, where its tensors' types do not say; set by a <see cref="PrecisionController"/>.</summary>
    internal LinearMode? Products
    {
        get => Training ? field : null;
        set;
    }

    /// <summary>Whether a hook is on this module or one inside it.</summary>
    protected internal bool IsObserved => _hooks is { IsEmpty: false } || _children.Exists(c => c.Module.IsObserved);

    /// <summary>Calls a hook with this module, place and value whenever a value passes; what it returns takes the value's place, unless it is <c>default</c>. Disposing removes it.</summary>
    public IDisposable OnPass(HookPlace place, ModuleHook hook) => (_hooks ??= new ModuleHooks()).Add(place, hook);

    /// <summary>Counts what follows as this module's in a running trace: for passes of another form than <see cref="Forward"/>.</summary>
    protected TraceRange EnterTrace() => Trace.Enter(this);

    /// <summary>What the module does; <see cref="Forward"/> calls it.</summary>
    protected abstract Tensor Compute(Tensor x);

    /// <summary>Weights that are learned, in order of declaration.</summary>
    public IEnumerable<NamedTensor> Parameters() => Collect("", m => m._parameters);

    /// <summary>State that is kept but not learned, such as running means.</summary>
    public IEnumerable<NamedTensor> Buffers() => Collect("", m => m._buffers);

    /// <summary>Constants that follow from the module's sizes, such as tables of angles: never saved, but they live where the weights do.</summary>
    public IEnumerable<NamedTensor> Constants() => Collect("", m => m._derived);

    /// <summary>The modules inside this one with their dotted names, outer ones before inner ones.</summary>
    public IEnumerable<(string Name, Module Module)> Modules() =>
        _children.SelectMany(c => c.Module.Modules().Select(m => ($"{c.Name}.{m.Name}", m.Module)).Prepend((c.Name, c.Module)));

    /// <summary>Parameters and buffers: everything that makes up the trained module, as it is saved.</summary>
    public IEnumerable<NamedTensor> State() => Parameters().Concat(Buffers());

    /// <summary>Switches between training and use.</summary>
    public void Train(bool training = true)
    {
        Training = training;
        foreach (var (_, child) in _children)
        {
            child.Train(training);
        }
    }

    /// <summary>Where the first parameter is; the CPU for a module without any.</summary>
    public Device Device => State().Select(t => (Device?)t.Tensor.Tensor.Device).FirstOrDefault() ?? Device.Cpu;

    /// <summary>
    /// Moves all parameters and buffers in place. Their gradients go; make the optimiser afterwards, whose state is laid out as
    /// the parameters are. <paramref name="channelsLast"/> suits convolutions on tensor cores.
    /// </summary>
    public void To(Device device, bool channelsLast = false)
    {
        foreach (var (_, tensor) in State().Concat(Constants()))
        {
            tensor.MoveTo(device, null, channelsLast);
        }
        foreach (var (_, precise) in AllPrecise())
        {
            precise.MoveTo(device, null, channelsLast);
        }
    }

    /// <summary>
    /// Rounds the float32 parameters in place to half precision; their float32 values are kept and become the masters of an
    /// optimiser made afterwards. (Masters that started from rounded values would not move the weights until their steps add up
    /// to half a rounding interval.) Norms keep float32 parameters: see <see cref="KeepsPrecision"/>. Buffers and <see cref="Constants"/>,
    /// such as the tables of rotary angles, stay as they are: angles of late positions would not survive the rounding.
    /// </summary>
    public void ToPrecision(Dtype dtype)
    {
        if (!KeepsPrecision)
        {
            foreach (var (_, tensor) in _parameters.Where(p => p.Tensor.Tensor.Dtype == Dtype.Float32))
            {
                using var scope = TensorScope.Open();
                _precise.Add((tensor, tensor.Tensor.Detach().Keep()));
                tensor.MoveTo(tensor.Tensor.Device, dtype);
            }
        }
        foreach (var (_, child) in _children)
        {
            child.ToPrecision(dtype);
        }
    }

    /// <summary>Whether this module's own parameters stay float32 when a net goes to half precision.</summary>
    protected virtual bool KeepsPrecision => false;

    /// <summary>The float32 values from which parameters were rounded.</summary>
    internal IEnumerable<(TensorHandle Rounded, TensorHandle Precise)> AllPrecise() => _precise.Concat(_children.SelectMany(c => c.Module.AllPrecise()));

    /// <summary>Frees all tensors.</summary>
    public void Dispose()
    {
        foreach (var (_, precise) in AllPrecise())
        {
            precise.Dispose();
        }
        foreach (var (_, tensor) in State().Concat(Constants()))
        {
            tensor.Dispose();
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>Declares a weight.</summary>
    protected TensorHandle Parameter(string name, TensorHandle tensor)
    {
        _parameters.Add(new NamedTensor(name, tensor.WithGrad()));
        return tensor;
    }

    /// <summary>Declares state that is not learned.</summary>
    protected TensorHandle Buffer(string name, TensorHandle tensor)
    {
        _buffers.Add(new NamedTensor(name, tensor));
        return tensor;
    }

    /// <summary>Declares a constant that follows from the module's sizes and is not saved.</summary>
    protected TensorHandle Constant(string name, TensorHandle tensor)
    {
        _derived.Add(new NamedTensor(name, tensor));
        return tensor;
    }

    /// <summary>Declares a part.</summary>
    protected TModule Child<TModule>(string name, TModule module) where TModule : Module
    {
        _children.Add((name, module));
        return module;
    }

    /// <summary>The parts, in order of declaration.</summary>
    internal IReadOnlyList<(string Name, Module Module)> Children => _children;

    private Tensor Observed(Tensor x)
    {
        using var range = Trace.Enter(this);
        return _hooks is null ? Multiplied(x) : _hooks.Run(this, x, Multiplied);
    }

    private Tensor Multiplied(Tensor x)
    {
        if (Products is null)
        {
            return Compute(x);
        }
        var before = LinearMode.Current;
        LinearMode.Current = Products;
        try
        {
            return Compute(x);
        }
        finally
        {
            LinearMode.Current = before;
        }
    }

    private IEnumerable<NamedTensor> Collect(string prefix, Func<Module, List<NamedTensor>> own) =>
        own(this).Select(t => new NamedTensor(prefix + t.Name, t.Tensor))
            .Concat(_children.SelectMany(c => c.Module.Collect($"{prefix}{c.Name}.", own)));
}
