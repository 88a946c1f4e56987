using DeepSeek.Engine.Autograd;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Autograd;

public sealed class HookTests
{
    [Fact]
    public void OnGradient_OfInnerTensor_SeesAndReplacesIt()
    {
        using var scope = TensorScope.Open();
        using var x = TensorHandle.From<float>([1, 2], 2).WithGrad();
        var y = x.Tensor * 3;
        float[] seen = [];
        using var hook = y.OnGradient(g =>
        {
            seen = g.ToArray<float>();
            return g * 10;
        });

        (y * Tensor.From<float>([5, 7], 2)).Sum().Backward();

        Assert.Equal([5, 7], seen);
        Assert.Equal([150, 210], x.Tensor.Grad().ToArray<float>());
    }

    [Fact]
    public void OnGradient_AfterDispose_IsNotCalled()
    {
        using var scope = TensorScope.Open();
        using var x = TensorHandle.From<float>([1], 1).WithGrad();
        var calls = 0;
        var hook = x.Tensor.OnGradient(_ =>
        {
            calls++;
            return default;
        });

        (x.Tensor * 2).Sum().Backward();
        hook.Dispose();
        (x.Tensor * 2).Sum().Backward();

        Assert.Equal(1, calls);
        Assert.Equal([4], x.Tensor.Grad().ToArray<float>());
    }

    [Fact]
    public void OnGradient_HookThatThrows_EndsBackwardWithItsMessage()
    {
        using var scope = TensorScope.Open();
        using var x = TensorHandle.From<float>([1], 1).WithGrad();
        using var hook = x.Tensor.OnGradient(_ => throw new InvalidOperationException("gradient of no use"));

        var fault = Assert.Throws<NativeException>(() => (x.Tensor * 2).Sum().Backward());

        Assert.Contains("InvalidOperationException: gradient of no use", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void OnGradient_OfTensorWithoutGradient_IsRefused()
    {
        using var scope = TensorScope.Open();

        Assert.Throws<NativeException>(() => Tensor.From<float>([1], 1).OnGradient(g => g));
    }

    [Fact]
    public void OnPass_AllPlaces_SeeValuesAndGradients()
    {
        using var scope = TensorScope.Open();
        using var net = new Linear(2, 1, bias: false);
        net.Weight.Span<float>()[0] = 3;
        net.Weight.Span<float>()[1] = 5;
        using var x = TensorHandle.From<float>([1, 2], 1, 2).WithGrad();
        var seen = new Dictionary<HookPlace, float[]>();
        foreach (var place in Enum.GetValues<HookPlace>())
        {
            net.OnPass(place, (module, value) =>
            {
                Assert.Same(net, module);
                seen[place] = value.ToArray<float>();
                return default;
            });
        }

        // x is also used past the module: its hook sees the module's share alone.
        (net.Forward(x.Tensor) * 2 + x.Tensor.Sum()).Sum().Backward();

        Assert.Equal([1, 2], seen[HookPlace.Input]);
        Assert.Equal([13], seen[HookPlace.Output]);
        Assert.Equal([2], seen[HookPlace.OutputGradient]);
        Assert.Equal([6, 10], seen[HookPlace.InputGradient]);
        Assert.Equal([7, 11], x.Tensor.Grad().ToArray<float>());
    }

    [Fact]
    public void OnPass_Replacement_TakesTheValuesPlaceUntilDisposed()
    {
        using var scope = TensorScope.Open();
        using var net = new Activation(ActivationKind.Relu);
        var x = Tensor.From<float>([-1, 2], 2);

        using (net.OnPass(HookPlace.Output, (_, y) => y * 4))
        {
            Assert.Equal([0, 8], net.Forward(x).ToArray<float>());
        }
        Assert.Equal([0, 2], net.Forward(x).ToArray<float>());
    }
}
