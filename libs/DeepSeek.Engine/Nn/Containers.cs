using DeepSeek.Engine.Tensors;
using DeepSeek.Onnx;

namespace DeepSeek.Engine.Nn;

/// <summary>Modules one after the other, named by their position.</summary>
public sealed class Sequential : Module
{
    private readonly Module[] _modules;

    /// <summary>Takes the parts in order.</summary>
    public Sequential(params Module[] modules)
    {
        _modules = modules;
        for (var i = 0; i < modules.Length; i++)
        {
            Child(i.ToString(System.Globalization.CultureInfo.InvariantCulture), modules[i]);
        }
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x)
    {
        foreach (var module in _modules)
        {
            x = module.Forward(x);
        }
        return x;
    }

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input)
    {
        for (var i = 0; i < _modules.Length; i++)
        {
            var following = i + 1 < _modules.Length ? _modules[i + 1] as BatchNorm : null;
            (input, var used) = _modules[i] switch
            {
                Linear linear when following is not null => (linear.Export(graph, input, following), 1),
                Convolution convolution when following is not null => (convolution.Export(graph, input, following), 1),
                var module => (module.Export(graph, input), 0),
            };
            i += used;
        }
        return input;
    }
}

/// <summary>x + body(x).</summary>
public sealed class Residual : Module
{
    private readonly Module _body;

    /// <summary>Wraps the body, whose output has its input's shape.</summary>
    public Residual(Module body) => _body = Child("body", body);

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x + _body.Forward(x);

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => graph.Node("Add", [input, _body.Export(graph, input)]);
}

/// <summary>[N, ..] → [N, product of the rest].</summary>
public sealed class Flatten : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x.Flatten(); // [N, ..] → [N, F]

    /// <inheritdoc/>
    public override string Export(OnnxGraph graph, string input) => graph.Node("Flatten", [input], OnnxAttribute.Of("axis", 1));
}
