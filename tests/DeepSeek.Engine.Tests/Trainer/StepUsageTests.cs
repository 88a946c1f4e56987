using DeepSeek.Contracts.Training;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>What a trainer tells of the work and the time of its steps.</summary>
public sealed class StepUsageTests
{
    [Fact]
    public void Usage_OfATable_CountsItsProducts()
    {
        using var folder = TrainerFolder.Tabular(change: s => s with { Device = "cpu", BatchSize = 32, Epochs = 2, Model = new ModelSpec { Family = ModelFamily.TabularMlp, Width = 64, Blocks = 1, Expansion = 2 } });

        var result = TrainerRunner.Run(folder);

        var usage = result.Of("usage").Single().GetProperty("usage");
        // Layers 6→64, 64→128→64, 64→4: two operations a multiplication, forward and for both gradients, but for that of the table's own columns.
        const double Products = 2.0 * 32 * (3 * ((6 * 64) + (2 * 64 * 128) + (64 * 4)) - (6 * 64));
        // Normalisation and the update count besides: some operations an activation or weight, against 3 · 32 · 2 a weight.
        Assert.InRange(usage.GetProperty("flops").GetDouble(), Products, 1.2 * Products);
        Assert.InRange(usage.GetProperty("calls").GetInt32(), 20, 500);
        Assert.InRange(usage.GetProperty("bytes").GetDouble(), 4.0 * 64 * 128 * 2, 1e8);
        Assert.Equal(result.Of("progress").Last().GetProperty("step").GetInt64() - 5, usage.GetProperty("steps").GetInt64());
        Assert.InRange(usage.GetProperty("waiting").GetDouble(), 0, usage.GetProperty("seconds").GetDouble());
        Assert.Equal("float32", usage.GetProperty("type").GetString());
        Assert.InRange(usage.GetProperty("memory").GetInt64(), 4 * 64 * 128 * 2, usage.GetProperty("memoryLimit").GetInt64());
    }

    [Fact]
    public void Usage_BesideATraceOfTheFirstSteps_IsCountedAfterIt()
    {
        using var folder = TrainerFolder.Tabular(change: s => s with { Device = "cpu", Epochs = 2, Trace = new TraceSpec { Steps = 3, After = 0 } });

        var usage = TrainerRunner.Run(folder).Of("usage").Single().GetProperty("usage");

        Assert.InRange(usage.GetProperty("flops").GetDouble(), 1, double.MaxValue);
    }
}
