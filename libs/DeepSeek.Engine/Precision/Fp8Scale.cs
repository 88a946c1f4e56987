using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Precision;

/// <summary>The scale of one tensor of a layer, from its maxima over the last steps (delayed scaling), all on the device.</summary>
internal sealed class Fp8Scale(Fp8Format format, int steps, int margin) : IDisposable
{
    private TensorHandle? _history;
    private TensorHandle? _scale;

    /// <summary>Casts a matrix under the scale as it was before this tensor; the first tensor sets the scale for itself.</summary>
    internal Fp8Tensor Encode(Tensor x)
    {
        if (_history is null)
        {
            (_history, _scale) = (TensorHandle.Zeros(Dtype.Float32, steps), TensorHandle.Filled(1, 1));
            _history.MoveTo(x.Device);
            _scale.MoveTo(x.Device);
            Fp8.Rescale(_history.Tensor, _scale.Tensor, Fp8.Encode(x, _scale.Tensor, format).Amax, format, margin);
        }
        return Fp8.Cast(x, _history.Tensor, _scale!.Tensor, format, margin);
    }

    public void Dispose()
    {
        _history?.Dispose();
        _scale?.Dispose();
    }
}
