using DeepSeek.Engine.Export;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>
/// Long short-term memory over [N, T, inputs], from zero states, giving the last layer's states [N, T, hidden·directions]. Weights are
/// named as in PyTorch: <c>weight_ih_l0</c>, <c>weight_hh_l0</c>, <c>bias_ih_l0</c>, <c>bias_hh_l0</c>, then with <c>_reverse</c>.
/// </summary>
public sealed class Lstm : Module
{
    // Of a layer and direction; cuDNN's number for this kind of net.
    private const int WeightsEach = 4;
    private const int CudnnLstm = 2;

    private readonly int _inputs;
    private readonly int _hidden;
    private readonly int _layers;
    private readonly double _dropout;
    private readonly bool _bidirectional;
    private readonly TensorHandle[] _handles;
    private readonly Tensor[] _weights;
    private (Device Device, Dtype Type) _joined;

    /// <summary>Draws initial weights evenly over ±1/√hidden.</summary>
    /// <param name="dropout">Share of states dropped between layers while training.</param>
    public Lstm(int inputs, int hidden, int layers = 1, bool bidirectional = false, double dropout = 0)
    {
        (_inputs, _hidden, _layers, _dropout, _bidirectional) = (inputs, hidden, layers, dropout, bidirectional);
        var handles = new List<TensorHandle>();
        var bound = 1 / Math.Sqrt(hidden);
        for (var layer = 0; layer < layers; layer++)
        {
            var width = layer == 0 ? inputs : Outputs;
            foreach (var suffix in bidirectional ? new[] { "", "_reverse" } : [""])
            {
                handles.Add(Parameter($"weight_ih_l{layer}{suffix}", Initialize.Uniform(bound, 4 * hidden, width)));
                handles.Add(Parameter($"weight_hh_l{layer}{suffix}", Initialize.Uniform(bound, 4 * hidden, hidden)));
                handles.Add(Parameter($"bias_ih_l{layer}{suffix}", Initialize.Uniform(bound, 4 * hidden)));
                handles.Add(Parameter($"bias_hh_l{layer}{suffix}", Initialize.Uniform(bound, 4 * hidden)));
            }
        }
        _handles = [.. handles];
        _weights = new Tensor[handles.Count];
    }

    /// <summary>Width of the output.</summary>
    public int Outputs => _bidirectional ? 2 * _hidden : _hidden;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        for (var i = 0; i < _handles.Length; i++)
        {
            _weights[i] = _handles[i].Tensor;
        }
        if (x.Device.IsCuda && !Recording.IsActive && !OperatorTrace.Recording && _joined != (x.Device, _weights[0].Dtype))
        {
            Join(x.Device);
        }
        var zero = x.NewFull(0, _layers * (_bidirectional ? 2 : 1), x.Size(0), _hidden);
        return scope.Return(Functional.Lstm(x, zero, _weights, _layers, Training ? _dropout : 0, Training, _bidirectional));
    }

    // cuDNN wants all weights in one stretch of memory; what lies elsewhere is copied there in every pass.
    private void Join(Device device)
    {
        using var unrecorded = NoGrad.Enter();
        _ = OperatorCall.To(Operators.JoinLstm).Add(_weights).Add((long)WeightsEach).Add((long)_inputs).Add((long)CudnnLstm).Add((long)_hidden).Add(0L).Add((long)_layers).Add(true).Add(_bidirectional).One();
        _joined = (device, _weights[0].Dtype);
    }
}
