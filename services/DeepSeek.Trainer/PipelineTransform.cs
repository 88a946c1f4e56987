using DeepSeek.Data;
using DeepSeek.Engine.Export;
using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;
using Onnx;

namespace DeepSeek.Trainer;

/// <summary>
/// Turns stored features into the net's input. Tables and tokens are stored as the pipeline's output already; images are stored raw, and the
/// pipeline's element-wise nodes (Cast, Add, Sub, Mul, Div, Identity) are run here, so that training sees what serving will see.
/// </summary>
internal sealed class PipelineTransform : IDisposable
{
    private enum Kind { Cast, Add, Sub, Mul, Div, Identity }

    private sealed record Step(Kind Kind, int Output, int Left, int Right, Dtype Dtype);

    private readonly List<Step> _steps = [];
    private readonly List<TensorHandle> _constants = [];
    private readonly Tensor[] _values;
    private readonly int _input = -1;
    private readonly int _output = -1;

    private readonly Device _device;
    private readonly bool _tokens;

    internal PipelineTransform(DatasetManifest dataset, ModelProto pipeline, Device device)
    {
        (_device, _tokens) = (device, dataset.IsText);
        _values = [];
        if (!dataset.IsImage)
        {
            return;
        }
        var graph = pipeline.Graph;
        var names = new Dictionary<string, int>(StringComparer.Ordinal);
        _input = names[graph.Input.Single().Name] = 0;
        var constants = graph.Initializer.Concat(graph.Node.Where(n => n.OpType == "Constant").Select(n => Named(n.Output[0], n.Attribute("value")?.T))).ToArray();
        foreach (var constant in constants)
        {
            names[constant.Name] = names.Count;
            _constants.Add(Load(constant));
            _constants[^1].MoveTo(device);
        }
        foreach (var node in graph.Node.Where(n => n.OpType != "Constant"))
        {
            var kind = Enum.TryParse<Kind>(node.OpType, out var known) && node.Domain.Length == 0 ? known
                : throw new InvalidOnnxException($"The image pipeline has a node {node.OpType}; training knows {string.Join(", ", Enum.GetNames<Kind>())}.");
            var left = names[node.Input[0]];
            var right = kind is Kind.Cast or Kind.Identity ? 0 : names[node.Input[1]];
            names[node.Output[0]] = names.Count;
            _steps.Add(new Step(kind, names[node.Output[0]], left, right, kind == Kind.Cast ? TypeOf((OnnxType)node.Int("to", 1)) : Dtype.Float32));
        }
        _output = names.TryGetValue(NetExport.Features, out var output) ? output : throw new InvalidOnnxException("The pipeline has no output 'features'.");
        _values = new Tensor[names.Count];
        for (var i = 0; i < _constants.Count; i++)
        {
            _values[i + 1] = _constants[i].Tensor;
        }
    }

    /// <summary>Targets where the net computes.</summary>
    internal Tensor Target(Tensor stored) => _device.IsCuda ? stored.To(_device) : stored;

    /// <summary>Stored features → float32 features (int64 tokens) of the same rows, where the net computes.</summary>
    internal Tensor Apply(Tensor stored)
    {
        stored = _device.IsCuda ? stored.To(_device) : stored;
        if (_output < 0)
        {
            return _tokens ? stored.To(Dtype.Int64) : stored;
        }
        _values[_input] = stored;
        foreach (var step in _steps)
        {
            var left = _values[step.Left];
            var right = _values[step.Right];
            _values[step.Output] = step.Kind switch
            {
                Kind.Cast => left.To(step.Dtype),
                Kind.Add => left + right,
                Kind.Sub => left - right,
                Kind.Mul => left * right,
                Kind.Div => left / right,
                _ => left,
            };
        }
        return _values[_output];
    }

    public void Dispose() => _constants.ForEach(c => c.Dispose());

    private static TensorProto Named(string name, TensorProto? value)
    {
        var constant = value?.Clone() ?? throw new InvalidOnnxException($"The pipeline's constant '{name}' has no tensor.");
        constant.Name = name;
        return constant;
    }

    private static TensorHandle Load(TensorProto constant) => constant.Type() switch
    {
        OnnxType.Float => TensorHandle.From<float>(constant.Floats(), [.. constant.Dims]),
        OnnxType.Double => TensorHandle.From<double>(constant.Doubles(), [.. constant.Dims]),
        var type => throw new InvalidOnnxException($"The pipeline's constant '{constant.Name}' is of type {type}; training knows Float and Double."),
    };

    private static Dtype TypeOf(OnnxType type) => type switch
    {
        OnnxType.Float => Dtype.Float32,
        OnnxType.Double => Dtype.Float64,
        _ => throw new InvalidOnnxException($"The image pipeline casts to {type}; training knows Float and Double."),
    };
}
