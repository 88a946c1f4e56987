using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Optim;

/// <summary>Parameters and the gradient work that all update rules share. Weight decay falls on matrices and kernels only.</summary>
public abstract unsafe class Optimizer : IDisposable
{
    private readonly NamedTensor[] _parameters;
    private readonly nint[] _handles;
    private readonly List<NamedTensor> _state = [];

    /// <summary>Takes a module's parameters, those of rank 2 and more first.</summary>
    protected Optimizer(Module module)
    {
        var parameters = module.Parameters().ToArray();
        _parameters = [.. parameters.Where(p => p.Tensor.Tensor.Rank >= 2), .. parameters.Where(p => p.Tensor.Tensor.Rank < 2)];
        Decayed = parameters.Count(p => p.Tensor.Tensor.Rank >= 2);
        _handles = Pin(_parameters);
    }

    /// <summary>Steps taken.</summary>
    public long Steps { get; private set; }

    /// <summary>Everything besides <see cref="Steps"/> that a later step depends on.</summary>
    public IReadOnlyList<NamedTensor> State => _state;

    /// <summary>The first so many parameters decay.</summary>
    protected int Decayed { get; }

    /// <summary>Number of parameters.</summary>
    protected int Count => _parameters.Length;

    /// <summary>Handles of the parameters, pinned.</summary>
    private protected nint* Handles => Address(_handles);

    /// <summary>Updates every parameter that has a gradient.</summary>
    public void Step(double learningRate)
    {
        Steps++;
        Update(learningRate);
        GC.KeepAlive(this);
    }

    /// <summary>Drops all gradients.</summary>
    public void ClearGradients()
    {
        NativeMethods.Check(NativeMethods.ds_autograd_clear_grads(Handles, Count));
        GC.KeepAlive(this);
    }

    /// <summary>Scales all gradients so that their common L2 norm is at most <paramref name="limit"/> (0 only measures); returns the norm before.</summary>
    public double ClipGradients(double limit)
    {
        double norm;
        NativeMethods.Check(NativeMethods.ds_optim_clip(Handles, Count, limit, &norm));
        GC.KeepAlive(this);
        return norm;
    }

    /// <summary>Multiplies all gradients.</summary>
    public void ScaleGradients(double factor)
    {
        NativeMethods.Check(NativeMethods.ds_optim_scale(Handles, Count, factor));
        GC.KeepAlive(this);
    }

    /// <summary>Continues after so many steps; the state tensors are restored by the caller.</summary>
    public void ContinueAfter(long steps) => Steps = steps;

    /// <summary>Frees the state; the parameters stay.</summary>
    public void Dispose()
    {
        foreach (var (_, tensor) in _state)
        {
            tensor.Dispose();
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>The update rule.</summary>
    protected abstract void Update(double learningRate);

    /// <summary>Adds one zeroed state tensor per parameter and returns their pinned handles.</summary>
    private protected nint[] AddState(string name)
    {
        var tensors = _parameters.Select(p => new NamedTensor($"{name}.{p.Name}", TensorHandle.Zeros(p.Tensor.Tensor.Dtype, p.Tensor.Tensor.Shape()))).ToArray();
        _state.AddRange(tensors);
        return Pin(tensors);
    }

    private protected static nint* Address(nint[] pinned) => (nint*)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(pinned, 0);

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
