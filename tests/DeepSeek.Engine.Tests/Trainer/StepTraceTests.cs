using System.Text.Json;
using DeepSeek.Contracts.Training;

namespace DeepSeek.Engine.Tests.Trainer;

public sealed class StepTraceTests
{
    [Fact]
    public void Run_WithATrace_WritesItAndTrainsTheSameWeights()
    {
        using var plain = TrainerFolder.Tabular();
        using var traced = TrainerFolder.Tabular(change: s => s with { Trace = new TraceSpec { Steps = 5, After = 3 } });
        TrainerRunner.Run(plain);

        Assert.Equal(0, TrainerRunner.Run(traced).ExitCode);

        Assert.Equal(File.ReadAllBytes(plain.File("output", "weights.safetensors")), File.ReadAllBytes(traced.File("output", "weights.safetensors")));
        Assert.False(File.Exists(plain.File("output", "trace.json")));
        var trace = JsonDocument.Parse(File.ReadAllBytes(traced.File("output", "trace.json"))).RootElement;
        Assert.Equal("deepseek.trace/1", trace.GetProperty("format").GetString());
        Assert.Equal(5, trace.GetProperty("steps").GetInt32());
        Assert.Equal(5, trace.GetProperty("operators").EnumerateArray().Single(o => o.GetProperty("name").GetString() == "deepseek::adamw").GetProperty("calls").GetInt32());
        Assert.NotEmpty(trace.GetProperty("summary").GetString()!);
        Assert.Equal(JsonValueKind.Null, trace.GetProperty("energyPerStep").ValueKind);
        var events = JsonDocument.Parse(File.ReadAllBytes(traced.File("output", "trace-events.json"))).RootElement.GetProperty("traceEvents");
        Assert.Equal(5, events.EnumerateArray().Count(e => e.GetProperty("ph").GetString() == "i"));
    }

    [Theory]
    [InlineData(OptimizerName.AdamW, 1, 1)]
    [InlineData(OptimizerName.Adaptive, 1, 1)]
    [InlineData(OptimizerName.Adaptive, 3, 3)]
    public void Run_AnyOptimizer_ReadsEachLossOnce(OptimizerName name, int accumulation, int losses)
    {
        using var folder = TrainerFolder.Tabular(change: s => s with
        {
            Optimizer = new OptimizerSpec { Name = name, LearningRate = 0.01 },
            Schedule = new ScheduleSpec(),
            GradientAccumulation = accumulation,
            Trace = new TraceSpec { Steps = 2, After = 1 },
        });

        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);

        var trace = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "trace.json"))).RootElement;
        var reads = trace.GetProperty("operators").EnumerateArray().Where(o => o.GetProperty("name").GetString() == "aten::item").Sum(o => o.GetProperty("calls").GetInt32());
        Assert.Equal(2 * losses, reads);
    }

    [Fact]
    public void Run_ShorterThanItsTrace_WritesWhatThereIs()
    {
        using var folder = TrainerFolder.Tabular(change: s => s with { Epochs = 1, Trace = new TraceSpec { Steps = 1000, After = 1 } });

        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);

        var trace = JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "trace.json"))).RootElement;
        Assert.InRange(trace.GetProperty("steps").GetInt32(), 1, 999);
        Assert.Contains(trace.GetProperty("phases").EnumerateArray(), p => p.GetProperty("name").GetString() == "evaluation");
    }
}
