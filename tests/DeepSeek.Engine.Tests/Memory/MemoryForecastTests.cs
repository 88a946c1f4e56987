using DeepSeek.Engine.Memory;
using DeepSeek.Engine.Native;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Optim;
using DeepSeek.Engine.Precision;
using DeepSeek.Engine.Tensors;

namespace DeepSeek.Engine.Tests.Memory;

/// <summary>A step that runs out of memory for real, against a limit, and the advice that is then followed.</summary>
public sealed class MemoryForecastTests : IDisposable
{
    private const int Rows = 2048;
    private const int Width = 64;
    private readonly Sequential _net = new([
        new Linear(Width, Width),
        .. Enumerable.Range(0, 4).Select(_ => new Residual(new Sequential(new Linear(Width, 4 * Width), new Activation(ActivationKind.Gelu), new Linear(4 * Width, Width)))),
        new Linear(Width, 1),
    ]);
    private readonly AdamW _optimizer;

    public MemoryForecastTests() => _optimizer = new AdamW(_net) { LearningRate = 1e-3 };

    public void Dispose()
    {
        AllocatorMemory.LimitHost(0);
        _optimizer.Dispose();
        _net.Dispose();
    }

    [Fact]
    public void Measure_AfterOutOfMemory_NamesTheHoldersAndWhatFits()
    {
        // A third of what the step needs.
        var need = Forecast(long.MaxValue / 2);
        Limit(need.LastingBytes / 2 + need.Plain.At(Rows) / 3);
        var fault = Assert.Throws<NativeException>(() => Step(Rows));
        Assert.Equal(NativeStatus.OutOfMemory, fault.Status);

        _optimizer.ClearGradients();
        var forecast = Forecast(_limit - AllocatorMemory.Of(Device.Cpu).Current);

        Assert.False(forecast.Fits);
        // By hand: 4 blocks of three tensors of 4 · Width (product, GELU's result, and what GELU's and the product's backward passes keep
        // of them: the same) and one of Width a row, held by scope or graph.
        const long block = (2L * 4 + 2) * Width * Rows * sizeof(float);
        Assert.Equal(["1", "2", "3", "4"], forecast.Activations.Take(4).Select(h => h.Part).Order());
        Assert.All(forecast.Activations.Take(4), h => Assert.InRange(h.Bytes, 0.8 * block, 1.5 * block));
        var text = forecast.Describe();
        Assert.Contains("activations of ", text, StringComparison.Ordinal);
        Assert.Contains($"at most {forecast.MostRows} rows a batch", text, StringComparison.Ordinal);
        Assert.Contains("optimizer state", text, StringComparison.Ordinal);

        // The advice holds: so many rows fit, and an eighth more do not.
        Step(forecast.MostRows);
        Assert.Throws<NativeException>(() => Step(forecast.MostRows * 9 / 8));
    }

    [Fact]
    public void Measure_WhereCheckpointingSuffices_SaysSoRightly()
    {
        var need = Forecast(long.MaxValue / 2);
        Assert.InRange(need.Recomputed!.At(Rows), 1, 0.75 * need.Plain.At(Rows));
        Limit(need.LastingBytes + (need.Recomputed.At(Rows) + need.Plain.At(Rows)) / 2);
        Assert.Throws<NativeException>(() => Step(Rows));
        _optimizer.ClearGradients();

        Assert.Contains("checkpointing (", Forecast(_limit - AllocatorMemory.Of(Device.Cpu).Current).Describe(), StringComparison.Ordinal);

        foreach (var (_, module) in CheckpointPlanner.Segments(_net))
        {
            module.Recomputes = true;
        }
        Step(Rows);
    }

    [Fact]
    public void Measure_LeavesNoTrace()
    {
        var (random, held) = (EngineRuntime.RandomState(), AllocatorMemory.Of(Device.Cpu).Current);

        var forecast = Forecast(1 << 20);

        Assert.Equal(random, EngineRuntime.RandomState());
        Assert.Equal(held, AllocatorMemory.Of(Device.Cpu).Current);
        Assert.All(_net.Modules(), m => Assert.False(m.Module.Recomputes));
        Assert.True(forecast.Half!.At(Rows) < forecast.Plain.At(Rows));
    }

    [Theory]
    [InlineData(100, 0)] // not even the few
    [InlineData(300, 4)]
    [InlineData(550, 9)]
    public void MemoryLine_Most_InvertsTheLine(long bytes, int rows)
    {
        var line = new MemoryLine(4, 300, 500); // 100 and 50 a row

        Assert.Equal(rows, line.Most(bytes));
        Assert.Equal(600, line.At(10));
    }

    private long _limit;

    /// <summary>So many bytes beside what other tensors of the process and the net hold already.</summary>
    private void Limit(long more)
    {
        _limit = AllocatorMemory.Of(Device.Cpu).Current + more;
        AllocatorMemory.LimitHost(_limit);
    }

    private MemoryForecast Forecast(long free) => MemoryForecast.Measure(_net, _optimizer, rows => Loss(rows, false), rows => Loss(rows, true), Rows, free);

    private void Step(int rows)
    {
        using var scope = TensorScope.Open();
        Loss(rows, false).Backward();
        _optimizer.Step();
        _optimizer.ClearGradients();
    }

    private Tensor Loss(int rows, bool half)
    {
        var x = Tensor.Empty(Dtype.Float32, rows, Width);
        x.FillInPlace(0.5);
        if (!half)
        {
            return _net.Forward(x).Pow(2).Mean();
        }
        using var autocast = Autocast.Enter(DeviceType.Cpu, Dtype.BFloat16);
        return _net.Forward(x).To(Dtype.Float32).Pow(2).Mean();
    }
}
