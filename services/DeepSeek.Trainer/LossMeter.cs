using DeepSeek.Engine.Tensors;

namespace DeepSeek.Trainer;

/// <summary>
/// Sums the loss of an epoch's rows. What nobody has read it sums on the device and waits for it only when asked, since reading every step would
/// hold the host up. Where it forgives, a loss that is no number does not count, nor do its rows: the adaptive optimiser takes such a step back.
/// </summary>
internal sealed class LossMeter : IDisposable
{
    private readonly RunState _state;
    private readonly bool _forgives;
    private readonly Device _device;
    private TensorHandle? _sums; // of losses, and, where it forgives, of the rows that they are of

    internal LossMeter(RunState state, Device device, bool forgives) => (_state, _device, _forgives) = (state, device, forgives);

    /// <summary>Adds a batch's mean loss: on the host, where its value is known.</summary>
    internal void Add(StepLoss loss, int rows)
    {
        if (loss.Value is not { } value)
        {
            AddOnDevice(loss.Tensor, rows);
        }
        else if (!_forgives || double.IsFinite(value))
        {
            _state.LossRows += rows;
            _state.LossSum += Finite(value, "at") * rows;
        }
    }

    /// <summary>Brings what was summed on the device into the state.</summary>
    /// <exception cref="BadInputException">A loss was no number.</exception>
    internal void Flush()
    {
        if (_sums is null)
        {
            return;
        }
        var sums = _sums.Tensor.ToArray<double>();
        _state.LossSum += Finite(sums[0], "by");
        _state.LossRows += (long)sums[1];
        _sums.Tensor.Write<double>([0, 0]);
    }

    public void Dispose() => _sums?.Dispose();

    private void AddOnDevice(Tensor loss, int rows)
    {
        using var recording = NoGrad.Enter();
        _sums ??= Sums();
        var (sum, count) = (_sums.Tensor.Narrow(0, 0, 1), _sums.Tensor.Narrow(0, 1, 1));
        var wide = loss.To(Dtype.Float64).Reshape(1);
        if (_forgives)
        {
            // Which rows count is known on the device alone.
            count.CopyInPlace(count + wide.IsFinite().To(Dtype.Float64) * rows);
            sum.CopyInPlace(sum + wide.FiniteOrZero() * rows);
            return;
        }
        _state.LossRows += rows;
        sum.CopyInPlace(sum + wide * rows);
    }

    private TensorHandle Sums()
    {
        var sums = TensorHandle.Zeros(Dtype.Float64, 2);
        sums.MoveTo(_device);
        return sums;
    }

    private double Finite(double value, string when) => double.IsFinite(value) ? value : throw new BadInputException("optimizer.learningRate",
        FormattableString.Invariant($"The loss left the range of numbers {when} step {_state.Step + 1}. Choose a lower learning rate, or a gradientClip."));
}
