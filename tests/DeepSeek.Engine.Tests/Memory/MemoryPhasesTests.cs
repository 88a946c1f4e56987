using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Memory;

/// <summary>Bytes of a step that can be counted by hand: one layer of 64×32 weights over 128 rows, AdamW.</summary>
public sealed class MemoryPhasesTests
{
    private const long Weights = (64 * 32 + 32) * sizeof(float);
    private const long Outputs = 128 * 32 * sizeof(float);

    [Theory]
    [MemberData(nameof(Gpu.Devices), MemberType = typeof(Gpu))]
    public void Enter_PhasesOfAStep_CountTheirTensors(string place)
    {
        var device = Device.Parse(place);
        using var net = new Linear(64, 32);
        net.To(device);
        using var optimizer = new AdamW(net) { LearningRate = 1e-3 };
        var phases = new MemoryPhases(device);
        using var scope = TensorScope.Open();
        var x = Tensor.Empty(Dtype.Float32, device, 128, 64);
        // The first product of a process makes the workspace that cuBLAS keeps.
        net.Forward(x).Sum().Backward();
        optimizer.ClearGradients();
        Tensor loss;

        using (phases.Enter("forward"))
        {
            loss = net.Forward(x).Sum();
        }
        using (phases.Enter("backward"))
        {
            loss.Backward();
        }
        using (phases.Enter("optimizer"))
        {
            optimizer.Step();
            optimizer.ClearGradients();
        }

        var (forward, backward, update) = (phases.Measured[0], phases.Measured[1], phases.Measured[2]);
        Assert.Equal(["forward", "backward", "optimizer"], phases.Measured.Select(p => p.Name));
        // The output and the loss stay, and a GPU's blocks are rounded up to 512 bytes.
        Assert.InRange(forward.After - forward.Before, Outputs + 4, Outputs + 1024);
        Assert.InRange(forward.Allocations, 2, 4);
        // Weight's and bias's gradients stay.
        Assert.InRange(backward.After - backward.Before, Weights, Weights + 1024);
        Assert.True(backward.Peak >= backward.After);
        // They go, and the update needs no tensors of its own on the CPU.
        Assert.InRange(update.Before - update.After, Weights, Weights + 1024);
        Assert.InRange(update.Peak - update.Before, 0, device.IsCuda ? 2 * Weights : 0);
        Assert.Equal(forward.After, backward.Before);
    }

    [Fact]
    public void Lasting_ByPartAndKind_AddsUp()
    {
        using var net = new Sequential(new Linear(8, 16), new Residual(new Sequential(new BatchNorm(16), new Linear(16, 16))), new Linear(16, 2));
        using var optimizer = new AdamW(net) { LearningRate = 1e-3 };
        using var scope = TensorScope.Open();
        net.Forward(Tensor.Empty(Dtype.Float32, 4, 8)).Sum().Backward();

        var holdings = MemoryHoldings.Lasting(net, optimizer);

        const long block = (16 * 16 + 16 + 2 * 16) * sizeof(float), first = (8 * 16 + 16) * sizeof(float), last = (16 * 2 + 2) * sizeof(float);
        Assert.Equal(block, holdings.Single(h => h is { Kind: HoldingKind.Parameters, Part: "1" }).Bytes);
        Assert.Equal(first, holdings.Single(h => h is { Kind: HoldingKind.Gradients, Part: "0" }).Bytes);
        Assert.Equal(2 * last, holdings.Single(h => h is { Kind: HoldingKind.OptimizerState, Part: "2" }).Bytes);
        Assert.Equal(block + first + last, holdings.Total(HoldingKind.Parameters));
        Assert.Equal(2 * (block + first + last), holdings.Total(HoldingKind.OptimizerState));
        Assert.Equal(2 * 16 * sizeof(float), holdings.Total(HoldingKind.Buffers));
        Assert.Equal(("1", HoldingKind.OptimizerState), (holdings[0].Part, holdings[0].Kind));
    }
}
