using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>
/// Normalisation over the batch, per channel, of [N, C] or [N, C, H, W] (Ioffe &amp; Szegedy, arXiv 1502.03167): training uses the
/// batch's statistics and follows them with running ones, which are used afterwards. Training needs more than one value per channel.
/// </summary>
public sealed class BatchNorm : Module
{
    private readonly int _channels;
    private readonly double _momentum;
    private readonly double _epsilon;
    private readonly TensorHandle _mean;
    private readonly TensorHandle _variance;

    /// <summary>Starts as the identity.</summary>
    public BatchNorm(int channels, double momentum = 0.1, double epsilon = 1e-5)
    {
        (_channels, _momentum, _epsilon) = (channels, momentum, epsilon);
        Weight = Parameter("weight", TensorHandle.Filled(1, channels));
        Bias = Parameter("bias", TensorHandle.Filled(0, channels));
        _mean = Buffer("running_mean", TensorHandle.Filled(0, channels));
        _variance = Buffer("running_var", TensorHandle.Filled(1, channels));
    }

    /// <summary>Scale.</summary>
    public TensorHandle Weight { get; }

    /// <summary>Shift.</summary>
    public TensorHandle Bias { get; }

    /// <inheritdoc/>
    protected override bool KeepsPrecision => true;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) =>
        Functional.BatchNorm(x, Weight.Tensor, Bias.Tensor, _mean.Tensor, _variance.Tensor, Training, _momentum, _epsilon);

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => graph.Node("BatchNormalization",
        [
            input,
            graph.Initializer(OnnxTensors.Of("scale", Weight.Span<float>(), _channels)),
            graph.Initializer(OnnxTensors.Of("bias", Bias.Span<float>(), _channels)),
            graph.Initializer(OnnxTensors.Of("mean", _mean.Span<float>(), _channels)),
            graph.Initializer(OnnxTensors.Of("variance", _variance.Span<float>(), _channels)),
        ],
        OnnxAttribute.Of("epsilon", (float)_epsilon));

    /// <summary>Works y·s + t, what this layer does outside training, into the layer before it: [C, ..] weights, [C] bias.</summary>
    internal void FoldInto(Span<float> weight, Span<float> bias)
    {
        var row = weight.Length / _channels;
        for (var c = 0; c < _channels; c++)
        {
            var scale = Weight.Span<float>()[c] / Math.Sqrt(_variance.Span<float>()[c] + _epsilon);
            foreach (ref var w in weight.Slice(c * row, row))
            {
                w = (float)(w * scale);
            }
            bias[c] = (float)((bias[c] - _mean.Span<float>()[c]) * scale + Bias.Span<float>()[c]);
        }
    }
}
