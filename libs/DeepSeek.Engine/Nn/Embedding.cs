using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Nn;

/// <summary>Rows of a learned table by int64 index: [..] → [.., width].</summary>
public sealed class Embedding : Module
{
    private readonly int _padding;

    /// <summary>Draws the table from the normal distribution.</summary>
    /// <param name="padding">Row that stands for no token: it gets no gradient. -1 for none.</param>
    public Embedding(int entries, int width, double deviation = 1, int padding = -1)
    {
        _padding = padding;
        Weight = Parameter("weight", Initialize.Normal(deviation, entries, width));
    }

    /// <summary>[entries, width].</summary>
    public TensorHandle Weight { get; }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor x) => Functional.Embedding(Weight.Tensor, x, _padding); // [.., width]
}
