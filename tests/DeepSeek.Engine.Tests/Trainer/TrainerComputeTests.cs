using DeepSeek.Contracts.Training;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>Precision, checkpointing and device of a run, for real.</summary>
public sealed class TrainerComputeTests
{
    [Fact]
    public void Run_NothingAsked_SaysWhereAndHowItComputes()
    {
        using var folder = TrainerFolder.Tabular();

        var compute = TrainerRunner.Run(folder).Of("compute").First();

        var expected = EngineRuntime.CudaDevices > 0 ? ("cuda:", "bf16") : ("cpu", "fp32");
        Assert.StartsWith(expected.Item1, compute.GetProperty("device").GetString(), StringComparison.Ordinal);
        Assert.NotEqual("", compute.GetProperty("deviceName").GetString());
        Assert.Equal(expected.Item2, compute.GetProperty("precision").GetString());
        Assert.Equal(3, compute.GetProperty("reasons").GetArrayLength());
    }

    [Theory]
    [InlineData("tabular")]
    [InlineData("images")]
    [InlineData("text")]
    public void Run_BFloat16_LearnsAsFloat32Does(string kind)
    {
        using var full = Make(kind, s => s with { Device = "cpu" });
        using var half = Make(kind, s => s with { Device = "cpu", Precision = RunPrecision.Bf16 });

        var (exact, rounded) = (TrainerRunner.Run(full), TrainerRunner.Run(half));

        Assert.Equal((0, "bf16"), (rounded.ExitCode, rounded.Of("compute").First().GetProperty("precision").GetString()));
        Assert.NotEqual(Weights(full), Weights(half));
        // The same course but for products rounded to 8 bits: within a few rows of 160 (80) on the test split.
        Assert.Equal(Metric(exact, "accuracy"), Metric(rounded, "accuracy"), 0.04);
        Assert.Equal(Metric(exact, "loss"), Metric(rounded, "loss"), 0.05);
    }

    [Theory]
    [InlineData("tabular", 1)]
    [InlineData("text", 1)]
    [InlineData("tabular", 3)]
    public void Run_AdaptivePrecision_LearnsAsFloat32DoesAndTellsItsLayers(string kind, int accumulation)
    {
        RunSpec On(RunSpec s) => s with { Device = "cpu", GradientAccumulation = accumulation };
        using var full = Make(kind, On);
        using var mixed = Make(kind, s => On(s) with { Precision = RunPrecision.Adaptive });

        var (exact, result) = (TrainerRunner.Run(full), TrainerRunner.Run(mixed));

        Assert.Equal(0, result.ExitCode);
        Assert.NotEqual(Weights(full), Weights(mixed));
        // As for bf16, in which all layers but the head stay here: a CPU has no products in eight bits.
        Assert.Equal(Metric(exact, "accuracy"), Metric(result, "accuracy"), 0.04);
        Assert.Equal(Metric(exact, "loss"), Metric(result, "loss"), 0.05);
        var compute = result.Of("compute").Last();
        Assert.Equal(("adaptive", false), (compute.GetProperty("precision").GetString(), compute.GetProperty("captured").GetBoolean()));
        var reasons = compute.GetProperty("reasons").EnumerateArray().Select(r => r.GetString()!).ToArray();
        Assert.Contains(reasons, r => r.StartsWith("FP8 is off", StringComparison.Ordinal));
        // tabularMlp: stem, two in its block, head. gpt: four in each of two blocks; its head shares the table and is no layer.
        Assert.EndsWith(kind == "tabular" ? "steps: 3 layers in bf16, 1 in fp32." : "steps: 8 layers in bf16.", reasons[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("on")]
    [InlineData("budget")]
    public void Run_Checkpointing_GivesTheSameBytes(string how)
    {
        // Dropout and batch normalisation, whose masks and running statistics must come out as without.
        static RunSpec Deep(RunSpec s) => s with { Device = "cpu", Model = s.Model with { Blocks = 4, Dropout = 0.2 } };
        using var plain = TrainerFolder.Tabular(change: Deep);
        using var again = TrainerFolder.Tabular(change: s => Deep(s) with { Checkpointing = how == "on" ? Checkpointing.On : Checkpointing.Within(1) });
        TrainerRunner.Run(plain);

        var result = TrainerRunner.Run(again);

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(Weights(plain), Weights(again));
        var compute = result.Of("compute").Single();
        // Four blocks of a batch of 32 rows take far less than the MiB that is allowed.
        Assert.Equal(how == "on" ? 4 : 0, compute.GetProperty("recomputed").GetArrayLength());
        Assert.Contains(how == "on" ? "All 4 segments" : "nothing needs to be computed again", compute.GetProperty("reasons")[3].GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Run_CheckpointingBudgetThatBinds_RecomputesAsManyBlocksAsItTakes()
    {
        // 512 rows of width 128, expanded twice: about 1.7 MiB a block, 13 in all.
        static RunSpec Wide(RunSpec s) => s with { Device = "cpu", Epochs = 1, BatchSize = 512, Model = s.Model with { Blocks = 8, Width = 128 } };
        using var plain = TrainerFolder.Tabular(change: Wide);
        using var again = TrainerFolder.Tabular(change: s => Wide(s) with { Checkpointing = Checkpointing.Within(9) });
        TrainerRunner.Run(plain);

        var compute = TrainerRunner.Run(again).Of("compute").Single();

        var reason = compute.GetProperty("reasons")[3].GetString()!;
        Assert.True(compute.GetProperty("recomputed").GetArrayLength() is > 0 and < 8, reason);
        Assert.Contains("at 9 MiB allowed", reason, StringComparison.Ordinal);
        Assert.Equal(Weights(plain), Weights(again));
    }

    [Theory]
    [InlineData("fp16", "auto", "precision")]
    [InlineData("auto", "on", "capture")]
    public void Run_WhatThisMachineCannotDo_ExitsAsBadInput(string precision, string capture, string field)
    {
        Assert.SkipWhen(EngineRuntime.CudaDevices > 0, "This machine can do it.");
        using var folder = TrainerFolder.Tabular(change: s => s with { Precision = Enum.Parse<RunPrecision>(precision, true), Capture = Enum.Parse<CaptureChoice>(capture, true) });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(2, result.ExitCode);
        Assert.True(result.Of("error").Single().GetProperty("errors").TryGetProperty(field, out _));
    }

    [Fact]
    public void Run_FirstStep_TellsTheMemoryOfItsPhases()
    {
        using var folder = TrainerFolder.Tabular(change: s => s with { Device = "cpu" });

        var memory = TrainerRunner.Run(folder).Of("memory").Single();

        var phases = memory.GetProperty("phases").EnumerateArray().ToArray();
        Assert.Equal(["forward", "backward", "optimizer"], phases.Select(p => p.GetProperty("name").GetString()));
        // Weights 6·32+32, norm 64, 32·64+64, 64·32+32, norm 64, 32·4+4: float32. AdamW keeps two moments of each.
        const long weights = 4 * (224 + 64 + 2112 + 2080 + 64 + 132);
        Assert.Equal((weights, weights * 2), (memory.GetProperty("lasting").GetProperty("parameters").GetInt64(), memory.GetProperty("lasting").GetProperty("optimizerState").GetInt64()));
        Assert.Equal(weights, phases[1].GetProperty("after").GetInt64() - phases[2].GetProperty("after").GetInt64());
        Assert.All(phases, p => Assert.True(p.GetProperty("peak").GetInt64() >= p.GetProperty("after").GetInt64()));
    }

    [Fact]
    public void Run_OutOfMemory_EndsWithWhoHoldsItAndWhatFits()
    {
        // Weights, gradients and moments take 33 MiB; 512 rows of width 512 through four blocks some 25 MiB more, where 48 are allowed.
        static RunSpec Wide(RunSpec s) => s with { Device = "cpu", Epochs = 1, BatchSize = 512, Model = s.Model with { Blocks = 4, Width = 512, Expansion = 1 } };
        using var folder = TrainerFolder.Tabular(change: Wide);
        var held = DeepSeek.Engine.Memory.AllocatorMemory.Of(DeepSeek.Engine.Tensors.Device.Cpu).Current >> 20;
        Environment.SetEnvironmentVariable("DEEPSEEK_MEMORY_MIB", $"{held + 48}");
        try
        {
            var result = TrainerRunner.Run(folder);

            Assert.Equal(2, result.ExitCode);
            var text = result.Of("error").Single().GetProperty("errors").GetProperty("batchSize")[0].GetString()!;
            Assert.Contains("activations of net.1 ", text, StringComparison.Ordinal);
            Assert.Contains("optimizer state ", text, StringComparison.Ordinal);
            var rows = int.Parse(System.Text.RegularExpressions.Regex.Match(text, "at most ([0-9]+) rows a batch").Groups[1].ValueSpan, System.Globalization.CultureInfo.InvariantCulture);

            // The advice, followed.
            folder.WriteSpec(s => Wide(s) with { BatchSize = rows });
            var second = TrainerRunner.Run(folder);
            Assert.True(second.ExitCode == 0, second.Of("error").Select(e => e.GetRawText()).FirstOrDefault());
        }
        finally
        {
            Environment.SetEnvironmentVariable("DEEPSEEK_MEMORY_MIB", null);
        }
    }

    [Fact]
    public void Run_OnAGpu_LearnsCapturedInHalfPrecision()
    {
        Gpu.Require();
        using var folder = TrainerFolder.Tabular(change: s => s with { Epochs = 8 });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(0, result.ExitCode);
        Assert.True(result.Of("compute").Last().GetProperty("captured").GetBoolean());
        Assert.InRange(Metric(result, "accuracy"), 0.85, 1);
    }

    private static TrainerFolder Make(string kind, Func<RunSpec, RunSpec> change) => kind switch
    {
        "images" => TrainerFolder.Images(change: s => change(s) with { Epochs = 6 }),
        "text" => TrainerFolder.Text(change: change),
        _ => TrainerFolder.Tabular(change: change),
    };

    private static double Metric(TrainerResult result, string name) => result.Of("done").Single().GetProperty("metrics").GetProperty(name).GetDouble();

    private static string Weights(TrainerFolder folder) => Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(folder.File("output", "weights.safetensors"))));
}
