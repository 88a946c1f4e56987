using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>
/// Self-attention of several heads with one projection for queries, keys and values, named as PyTorch's nn.MultiheadAttention:
/// <c>in_proj_weight</c>, <c>in_proj_bias</c>, <c>out_proj</c>. [N, T, width] → [N, T, width].
/// </summary>
public sealed class MultiHeadAttention : Module
{
    private readonly int _heads;
    private readonly bool _causal;
    private readonly double _dropout;
    private readonly TensorHandle _weight;
    private readonly TensorHandle _bias;
    private readonly Linear _join;

    /// <summary>Draws initial weights (Glorot &amp; Bengio's uniform for the projection).</summary>
    /// <exception cref="ArgumentException">The heads do not divide the width.</exception>
    public MultiHeadAttention(int width, int heads, bool causal = false, double dropout = 0)
    {
        _heads = width % heads == 0 ? heads : throw new ArgumentException($"{heads} heads do not divide a width of {width}.", nameof(heads));
        (_causal, _dropout) = (causal, dropout);
        _weight = Parameter("in_proj_weight", Initialize.Uniform(Math.Sqrt(6.0 / (4 * width)), 3 * width, width));
        _bias = Parameter("in_proj_bias", TensorHandle.Filled(0, 3 * width));
        _join = Child("out_proj", new Linear(width, width));
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x)
    {
        using var scope = TensorScope.Open();
        var (n, length, width) = (x.Size(0), x.Size(1), x.Size(2));
        Span<Tensor> parts = [default, default, default];
        Functional.Linear(x, _weight.Tensor, _bias.Tensor).Split([width, width, width], 2, parts);
        foreach (ref var part in parts)
        {
            part = part.Reshape(n, length, _heads, width / _heads).Transpose(1, 2); // [N, H, T, D]
        }
        var y = Functional.Attention(parts[0], parts[1], parts[2], causal: _causal, dropout: Training ? _dropout : 0);
        return scope.Return(_join.Forward(y.Transpose(1, 2).Reshape(n, length, width)));
    }
}
