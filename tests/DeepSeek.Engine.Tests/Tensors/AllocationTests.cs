using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;
using DeepSeek.Models;

namespace DeepSeek.Engine.Tests.Tensors;

public sealed class AllocationTests
{
    [Theory]
    [InlineData("mlp")]
    [InlineData("tabular")]
    [InlineData("convolutional")]
    public void TrainingStep_SteadyState_AllocatesNothingManaged(string kind)
    {
        using Module net = kind switch
        {
            "mlp" => new Sequential(new Linear(64, 32), new Activation(ActivationKind.Relu), new Linear(32, 10)),
            "tabular" => new TabularMlp(new TabularMlpConfig { Inputs = 64, Outputs = 10, Width = 16 }),
            _ => new ConvNet(new ConvNetConfig { Inputs = 1, Height = 8, Width = 8, Outputs = 10, Channels = [4, 4], Hidden = 8 }),
        };
        using Optimizer optimizer = new AdamW(net);
        using var x = kind == "convolutional" ? TensorHandle.Filled(0.5f, 16, 1, 8, 8) : TensorHandle.Filled(0.5f, 16, 64);
        using var y = TensorHandle.From<long>(new long[16], 16);
        Steps(net, optimizer, x, y, 20);
        var tensors = EngineRuntime.Memory().LiveTensors;
        var before = GC.GetAllocatedBytesForCurrentThread();

        Steps(net, optimizer, x, y, 50);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(tensors, EngineRuntime.Memory().LiveTensors);
    }

    private static void Steps(Module net, Optimizer optimizer, TensorHandle x, TensorHandle y, int count)
    {
        for (var i = 0; i < count; i++)
        {
            using var scope = TensorScope.Open();
            var loss = Losses.CrossEntropy(net.Forward(x.Tensor), y.Tensor, labelSmoothing: 0.1);
            loss.Backward();
            loss.Item();
            optimizer.ClipGradients(1);
            optimizer.Step(1e-3);
            optimizer.ClearGradients();
        }
    }
}
