using DeepSeek.Engine.Autograd;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Autograd;

public sealed class FunctionTests
{
    [Fact]
    public void Apply_OwnBackward_GivesItsGradientsAmongOthers()
    {
        using var scope = TensorScope.Open();
        using var a = TensorHandle.From<double>([2, 3], 2).WithGrad();
        using var b = TensorHandle.From<double>([5, 7], 2).WithGrad();

        // d(a·(a·b)²) = 3 a² b² by a and 2 a³ b by b: the function's a·b is used twice and followed by plain operators.
        var product = new Product().Apply(a.Tensor, b.Tensor);
        (product * product * a.Tensor).Sum().Backward();

        Assert.Equal([10, 21], product.ToArray<double>());
        Assert.Equal([3 * 4.0 * 25, 3 * 9.0 * 49], a.Tensor.Grad().ToArray<double>());
        Assert.Equal([2 * 8.0 * 5, 2 * 27.0 * 7], b.Tensor.Grad().ToArray<double>());
    }

    [Fact]
    public void Apply_InputWithoutGradient_GetsNone()
    {
        using var scope = TensorScope.Open();
        using var a = TensorHandle.From<double>([2], 1).WithGrad();
        var b = Tensor.From<double>([5], 1);

        new Product().Apply(a.Tensor, b).Sum().Backward();

        Assert.Equal([5], a.Tensor.Grad().ToArray<double>());
        Assert.True(b.Grad().IsNone);
    }

    [Fact]
    public void Apply_WithoutRecording_LeavesNoGraph()
    {
        using var scope = TensorScope.Open();
        using var a = TensorHandle.From<double>([2], 1).WithGrad();
        using var unrecorded = NoGrad.Enter();

        Assert.False(new Product().Apply(a.Tensor, a.Tensor).RequiresGrad);
    }

    [Fact]
    public void Backward_ThatThrows_ReportsTheException()
    {
        using var scope = TensorScope.Open();
        using var a = TensorHandle.From<double>([2], 1).WithGrad();

        var fault = Assert.Throws<NativeException>(() => new Broken().Apply(a.Tensor).Sum().Backward());

        Assert.Contains("NotSupportedException: no way back", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Graph_WhenGone_FreesWhatTheFunctionSaved()
    {
        var before = EngineRuntime.Memory().LiveTensors;
        using (var scope = TensorScope.Open())
        {
            using var a = TensorHandle.From<double>([2], 1).WithGrad();
            new Product().Apply(a.Tensor, a.Tensor).Sum().Backward();
            Assert.True(EngineRuntime.Memory().LiveTensors > before);
        }

        Assert.Equal(before, EngineRuntime.Memory().LiveTensors);
    }

    private sealed class Product : Function
    {
        protected override Tensor Forward(FunctionContext context, ReadOnlySpan<Tensor> inputs)
        {
            context.Save(inputs[0]);
            context.Save(inputs[1]);
            return inputs[0] * inputs[1];
        }

        protected override void Backward(FunctionContext context, Tensor gradient, Span<Tensor> gradients)
        {
            gradients[0] = gradient * context.Saved(1);
            gradients[1] = gradient * context.Saved(0);
        }
    }

    private sealed class Broken : Function
    {
        protected override Tensor Forward(FunctionContext context, ReadOnlySpan<Tensor> inputs) => inputs[0] * 2;

        protected override void Backward(FunctionContext context, Tensor gradient, Span<Tensor> gradients) => throw new NotSupportedException("no way back");
    }
}
