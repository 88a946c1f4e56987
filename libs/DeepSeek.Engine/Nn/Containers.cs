using DeepSeek.Engine.Tensors;

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
        for (var i = 0; i < _modules.Length; i++)
        {
            // A batch norm takes the ReLU behind it along, unless somebody looks at what passes between them.
            if (_modules[i] is BatchNorm norm && i + 1 < _modules.Length && _modules[i + 1] is Activation { IsPlainRelu: true })
            {
                x = norm.Forward(x, default, relu: true);
                i++;
                continue;
            }
            // So does a linear layer with its bias and GELU.
            if (_modules[i] is Linear linear && i + 1 < _modules.Length && _modules[i + 1] is Activation { IsPlainGelu: true } gelu)
            {
                x = linear.ForwardGelu(x, gelu.IsTanhForm);
                i++;
                continue;
            }
            x = _modules[i].Forward(x);
        }
        return x;
    }
}

/// <summary>x + body(x).</summary>
public sealed class Residual : Module
{
    private readonly Module _body;

    /// <inheritdoc/>
    public override bool IsSegment => true;

    /// <summary>Wraps the body, whose output has its input's shape.</summary>
    public Residual(Module body) => _body = Child("body", body);

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x + _body.Forward(x);
}

/// <summary>[N, ..] → [N, product of the rest].</summary>
public sealed class Flatten : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => x.Flatten(); // [N, ..] → [N, F]
}
