using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>
/// Sums the loss of an epoch's rows. Deferred, it sums on the device and waits for it only when asked, since reading every step would
/// hold the host up.
/// </summary>
internal sealed class LossMeter : IDisposable
{
    private readonly RunState _state;
    private readonly TensorHandle? _sum;

    internal LossMeter(RunState state, Device device, bool deferred)
    {
        _state = state;
        if (deferred)
        {
            _sum = TensorHandle.Zeros(Dtype.Float64, 1);
            _sum.MoveTo(device);
        }
    }

    /// <summary>Adds a batch's mean loss.</summary>
    internal void Add(Tensor loss, int rows)
    {
        _state.LossRows += rows;
        if (_sum is null)
        {
            _state.LossSum += Finite(loss.Item()) * rows;
            return;
        }
        using var recording = NoGrad.Enter();
        _sum.Tensor.CopyInPlace(_sum.Tensor + loss.To(Dtype.Float64) * rows);
    }

    /// <summary>Brings what was summed on the device into the state.</summary>
    /// <exception cref="BadInputException">A loss was no number.</exception>
    internal void Flush()
    {
        if (_sum is null)
        {
            return;
        }
        _state.LossSum += Finite(_sum.Tensor.Item());
        _sum.Tensor.Write<double>([0]);
    }

    public void Dispose() => _sum?.Dispose();

    private double Finite(double value) => double.IsFinite(value) ? value : throw new BadInputException("optimizer.learningRate",
        FormattableString.Invariant($"The loss left the range of numbers {(_sum is null ? "at" : "by")} step {_state.Step + 1}. Choose a lower learning rate, or a gradientClip."));
}
