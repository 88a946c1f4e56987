using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Autograd;

/// <summary>What a function keeps from its forward to its backward pass; freed with the graph.</summary>
public sealed class FunctionContext : IBackwardContext
{
    private readonly List<TensorHandle> _saved = [];

    internal FunctionContext(Function function) => Function = function;

    internal Function Function { get; }

    void IBackwardContext.Run(ReadOnlySpan<Tensor> gradients, Span<Tensor> inputGradients) => Function.RunBackward(this, gradients[0], inputGradients);

    /// <summary>Keeps a tensor; they are numbered in order.</summary>
    public void Save(Tensor tensor) => _saved.Add(tensor.Keep());

    /// <summary>A tensor that was kept.</summary>
    public Tensor Saved(int index) => _saved[index].Tensor;

    /// <inheritdoc/>
    public void Dispose() => _saved.ForEach(t => t.Dispose());
}

/// <summary>
/// A step with a backward pass of its own, written in C#. It may hold settings but no state of one call: that belongs in the context, since
/// several calls may be in a graph at once.
/// </summary>
public abstract class Function
{
    /// <summary>Computes the output, a tensor of its own and no view of an input; nothing is recorded meanwhile.</summary>
    protected abstract Tensor Forward(FunctionContext context, ReadOnlySpan<Tensor> inputs);

    /// <summary>From the output's gradient to those of the inputs, in their order; entries left <c>default</c> get none.</summary>
    protected abstract void Backward(FunctionContext context, Tensor gradient, Span<Tensor> gradients);

    /// <summary>Computes the output and, where an input needs a gradient, makes it part of the graph.</summary>
    public Tensor Apply(params ReadOnlySpan<Tensor> inputs)
    {
        var context = new FunctionContext(this);
        Tensor output;
        var recorded = false;
        using (var mode = NoGrad.Enter())
        {
            output = Forward(context, inputs);
            foreach (var input in inputs)
            {
                recorded |= mode.WasRecording && !input.IsNone && input.RequiresGrad;
            }
        }
        if (!recorded)
        {
            context.Dispose();
            return output;
        }
        Span<nint> handles = stackalloc nint[inputs.Length];
        for (var i = 0; i < inputs.Length; i++)
        {
            handles[i] = inputs[i].Handle;
        }
        Callbacks.Attach(context, handles, [output.Handle]);
        return output;
    }

    internal void RunBackward(FunctionContext context, Tensor gradient, Span<Tensor> gradients) => Backward(context, gradient, gradients);
}
