using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>
/// Multiplies the loss so that float16 gradients do not underflow, and leaves out a step whose gradients overflowed
/// (Micikevicius et al., arXiv 1710.03740, section 3.2): the scale halves then, and doubles after so many clean steps.
/// All of it happens on the device, so that it can be part of a captured step.
/// </summary>
public sealed unsafe class LossScaler : IDisposable
{
    private readonly TensorHandle _scale;
    private readonly TensorHandle _clean;
    private readonly TensorHandle _found;
    private readonly double _growth;
    private readonly double _backoff;
    private readonly long _interval;

    /// <summary>Starts at <paramref name="initial"/>; grows by <paramref name="growth"/> after <paramref name="interval"/> clean steps, shrinks by <paramref name="backoff"/>.</summary>
    public LossScaler(Device device, float initial = 65536, double growth = 2, double backoff = 0.5, long interval = 2000)
    {
        (_growth, _backoff, _interval) = (growth, backoff, interval);
        _scale = TensorHandle.Filled(initial, 1);
        _clean = TensorHandle.Zeros(Dtype.Int32, 1);
        _found = TensorHandle.Filled(0, 1);
        foreach (var (_, tensor) in State.Append(new NamedTensor("found", _found)))
        {
            tensor.MoveTo(device);
        }
    }

    /// <summary>What a later step depends on.</summary>
    public IReadOnlyList<NamedTensor> State => [new("scale", _scale), new("clean", _clean)];

    /// <summary>The present scale; waits for the device.</summary>
    public double Value => _scale.Tensor.Item();

    /// <summary>Whether the last step was left out; waits for the device.</summary>
    public bool Skipped => _found.Tensor.Item() != 0;

    /// <summary>The loss to differentiate.</summary>
    public Tensor Scale(Tensor loss) => (loss * _scale.Tensor).Sum(); // one element

    /// <summary>Divides the gradients by the scale; to be followed by clipping, if any, and <see cref="Step"/>.</summary>
    public void Unscale(Optimizer optimizer)
    {
        NativeMethods.Check(NativeMethods.ds_scaler_unscale(optimizer.Handles, optimizer.Count, _scale.Native, _found.Native));
        GC.KeepAlive(optimizer);
    }

    /// <summary>Steps unless <see cref="Unscale"/> found a gradient that is not finite, and adapts the scale.</summary>
    public void Step(Optimizer optimizer)
    {
        optimizer.Step(_found);
        NativeMethods.Check(NativeMethods.ds_scaler_update(_scale.Native, _clean.Native, _found.Native, _growth, _backoff, _interval));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _scale.Dispose();
        _clean.Dispose();
        _found.Dispose();
    }
}
