using System.Security.Cryptography;
using DeepSeek.Contracts.Training;
using DeepSeek.Engine.Nn;
using DeepSeek.Engine.Storage;
using DeepSeek.Engine.Tensors;
using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

public sealed class TrainerTests
{
    private static readonly string[] s_outputs = ["model.onnx", "weights.safetensors", "model.json", "metrics.jsonl"];

    [Fact]
    public void Run_Classification_LearnsAndWritesOutput()
    {
        using var folder = TrainerFolder.Tabular();

        var result = TrainerRunner.Run(folder);

        Assert.Equal(0, result.ExitCode);
        var metrics = result.Of("done").Single().GetProperty("metrics");
        // The noise leaves the Bayes rate near 0.92 (two boundaries, noise 0.2 against slopes above 1); chance is 0.25.
        Assert.InRange(metrics.GetProperty("accuracy").GetDouble(), 0.85, 1);
        Assert.InRange(metrics.GetProperty("auc").GetDouble(), 0.97, 1);
        Assert.All(s_outputs, name => Assert.True(File.Exists(folder.File("output", name)), name));
        Assert.Equal(folder.Spec.Epochs, File.ReadLines(folder.File("output", "metrics.jsonl")).Count());
    }

    [Fact]
    public void Run_Regression_LearnsAndWritesOutput()
    {
        using var folder = TrainerFolder.Tabular(classification: false, change: s => s with { Epochs = 12 });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(0, result.ExitCode);
        // Noise of 0.28 against a signal of deviation 1.8 leaves at most 1 - 0.08/3.33 = 0.976.
        Assert.InRange(result.Of("done").Single().GetProperty("metrics").GetProperty("r2").GetDouble(), 0.93, 0.985);
    }

    [Fact]
    public void Run_Images_LearnsThem()
    {
        using var folder = TrainerFolder.Images(change: s => s with { Epochs = 8 });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(0, result.ExitCode);
        // The bars stand 130 above noise of 0 to 119: hardly an image is in doubt.
        Assert.InRange(result.Of("done").Single().GetProperty("metrics").GetProperty("accuracy").GetDouble(), 0.95, 1);
    }

    [Fact]
    public void Run_Twice_GivesEqualBytes()
    {
        using var first = TrainerFolder.Tabular();
        using var second = TrainerFolder.Tabular();
        TrainerRunner.Run(first);
        TrainerRunner.Run(second);

        AssertSameOutput(first, second);
    }

    [Fact]
    public void Run_OtherSeed_GivesOtherWeights()
    {
        using var first = TrainerFolder.Tabular();
        using var second = TrainerFolder.Tabular(change: s => s with { Seed = 12 });
        TrainerRunner.Run(first);
        TrainerRunner.Run(second);

        Assert.NotEqual(Output(first, "weights.safetensors"), Output(second, "weights.safetensors"));
    }

    public static TheoryData<string> Variants => ["plain", "images", "accumulation", "sgd", "adaptive", "adaptive early stopping", "adaptive precision", "early stopping", "layer norm", "regression", "half weights", "half weights early stopping", "half weights adaptive precision"];

    [Theory]
    [MemberData(nameof(Variants))]
    public void Resume_AfterYields_EndsAsUndisturbed(string variant)
    {
        var classification = variant != "regression";
        TrainerFolder Make() => variant == "images" ? TrainerFolder.Images() : variant.StartsWith("half", StringComparison.Ordinal) ? TrainerFolder.Text(rows: 96, change: s => Vary(s, variant)) : TrainerFolder.Tabular(classification, change: s => Vary(s, variant));
        using var undisturbed = Make();
        using var disturbed = Make();
        TrainerRunner.Run(undisturbed);

        // Yields behind every single step for a while, then runs to the end.
        for (var i = 0; i < 9; i++)
        {
            using var stop = new StopSignal();
            stop.Request();
            Assert.Equal(75, TrainerRunner.Run(disturbed, stop).ExitCode);
        }
        Assert.Equal(0, TrainerRunner.Run(disturbed).ExitCode);

        AssertSameOutput(undisturbed, disturbed);
    }

    [Fact]
    public void Resume_AutoRunThatBeganWithHalfWeightsElsewhere_GoesOnWithThem()
    {
        static RunSpec Half(RunSpec s) => s with { Precision = RunPrecision.Bf16Weights };
        using var undisturbed = TrainerFolder.Text(rows: 96, change: Half);
        using var begun = TrainerFolder.Text(rows: 96, change: Half);
        using var moved = TrainerFolder.Text(rows: 96);
        TrainerRunner.Run(undisturbed);
        Yield(begun);
        Yield(moved);
        // The checkpoint that a GPU's auto would have left: the other run's, under this one's name.
        var path = Directory.GetFiles(moved.File("checkpoints")).Single();
        string run;
        using (var own = Safetensors.Read(File.ReadAllBytes(path).AsSpan()[..^SHA256.HashSizeInBytes]))
        {
            run = own.Metadata["run"];
        }
        using (var theirs = Safetensors.Read(File.ReadAllBytes(begun.File("checkpoints", Path.GetFileName(path))).AsSpan()[..^SHA256.HashSizeInBytes]))
        {
            using var buffer = new MemoryStream();
            Safetensors.Write(buffer, theirs.Tensors.Select(t => new NamedTensor(t.Key, t.Value)), new Dictionary<string, string> { ["run"] = run, ["state"] = theirs.Metadata["state"] });
            File.WriteAllBytes(path, [.. buffer.ToArray(), .. SHA256.HashData(buffer.ToArray())]);
        }

        var result = TrainerRunner.Run(moved);

        Assert.Equal(0, result.ExitCode);
        Assert.Equal("bf16Weights", result.Of("compute").First().GetProperty("precision").GetString());
        Assert.Equal(1, result.Of("started").Single().GetProperty("resumedFromStep").GetInt64());
        Assert.Equal(Output(undisturbed, "weights.safetensors"), Output(moved, "weights.safetensors"));

        static void Yield(TrainerFolder folder)
        {
            using var stop = new StopSignal();
            stop.Request();
            Assert.Equal(75, TrainerRunner.Run(folder, stop).ExitCode);
        }
    }

    [Theory]
    [InlineData("adaptive", "optimizer.adaptive is [")]
    [InlineData("losses", "holds no optimizer.losses")]
    public void Resume_CheckpointOfAnotherVersionsOptimizer_IsRefusedByFileAndRemedy(string tensor, string reason)
    {
        using var folder = TrainerFolder.Tabular(change: Adaptive);
        using (var stop = new StopSignal())
        {
            stop.Request();
            TrainerRunner.Run(folder, stop);
        }
        var path = Directory.GetFiles(folder.File("checkpoints")).Single();
        using (var content = Safetensors.Read(File.ReadAllBytes(path).AsSpan()[..^SHA256.HashSizeInBytes]))
        {
            // As an optimiser wrote it that kept two numbers fewer, or did not keep losses.
            var numbers = content.Tensors["optimizer.adaptive"].Span<double>()[..^2].ToArray();
            using var shorter = TensorHandle.From<double>(numbers, numbers.Length);
            var tensors = content.Tensors.Where(t => tensor == "adaptive" || t.Key != "optimizer.losses")
                .Select(t => new NamedTensor(t.Key, tensor == "adaptive" && t.Key == "optimizer.adaptive" ? shorter : t.Value));
            using var buffer = new MemoryStream();
            Safetensors.Write(buffer, tensors, content.Metadata.ToDictionary());
            File.WriteAllBytes(path, [.. buffer.ToArray(), .. SHA256.HashData(buffer.ToArray())]);
        }

        var result = TrainerRunner.Run(folder);

        Assert.Equal(2, result.ExitCode);
        var message = result.Of("error").Single().GetProperty("errors").GetProperty("checkpoint")[0].GetString()!;
        Assert.Contains(path, message, StringComparison.Ordinal);
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.Contains($"delete {folder.File("checkpoints")}", message, StringComparison.Ordinal);
        // The remedy works.
        Directory.Delete(folder.File("checkpoints"), recursive: true);
        Assert.Equal(0, TrainerRunner.Run(folder).ExitCode);
    }

    [Fact]
    public void Resume_CorruptNewestCheckpoint_TakesTheOneBefore()
    {
        using var undisturbed = TrainerFolder.Tabular();
        using var disturbed = TrainerFolder.Tabular();
        TrainerRunner.Run(undisturbed);
        for (var i = 0; i < 3; i++)
        {
            using var stop = new StopSignal();
            stop.Request();
            TrainerRunner.Run(disturbed, stop);
        }
        var newest = Directory.GetFiles(disturbed.File("checkpoints")).Order(StringComparer.Ordinal).Last();
        var bytes = File.ReadAllBytes(newest);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(newest, bytes);

        var result = TrainerRunner.Run(disturbed);

        Assert.Contains(Path.GetFileName(newest), result.Of("warning").Single().GetProperty("message").GetString());
        Assert.Equal(2, result.Of("started").Single().GetProperty("resumedFromStep").GetInt64());
        AssertSameOutput(undisturbed, disturbed);
    }

    [Fact]
    public void Resume_OtherSpec_StartsAfresh()
    {
        using var folder = TrainerFolder.Tabular();
        using (var stop = new StopSignal())
        {
            stop.Request();
            TrainerRunner.Run(folder, stop);
        }
        folder.WriteSpec(s => s with { Seed = 99 });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(0, result.Of("started").Single().GetProperty("resumedFromStep").GetInt64());
        Assert.Single(result.Of("warning"));
    }

    [Fact]
    public void EarlyStopping_NoImprovement_RestoresBestWeights()
    {
        // A rate that makes the loss jump about from epoch to epoch, so that the best epoch is not the last.
        using var folder = TrainerFolder.Tabular(change: s => s with
        {
            Epochs = 40,
            Optimizer = s.Optimizer with { LearningRate = 0.3 },
            Schedule = new ScheduleSpec { Name = ScheduleName.Constant },
            EarlyStopping = new EarlyStoppingSpec { Patience = 2 },
        });

        var result = TrainerRunner.Run(folder);

        var epochs = result.Of("progress").Select(e => e.GetProperty("metrics")).Where(m => m.TryGetProperty("loss", out _)).Select(m => m.GetProperty("loss").GetDouble()).ToArray();
        var best = Array.IndexOf(epochs, epochs.Min());
        Assert.Equal(best + 2, epochs.Length - 1);
        using var model = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(folder.File("output", "model.json")));
        Assert.Equal(best + 1, model.RootElement.GetProperty("training").GetProperty("bestEpoch").GetInt32());
    }

    [Fact]
    public void Run_Adaptive_LearnsAndTellsItsAdjustments()
    {
        using var folder = TrainerFolder.Tabular(change: s => Adaptive(s) with { Epochs = 12 });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(0, result.ExitCode);
        // The Bayes rate is near 0.92, with a deviation of 0.03 on 80 rows; the average of few steps lags behind a little.
        Assert.InRange(result.Of("done").Single().GetProperty("metrics").GetProperty("accuracy").GetDouble(), 0.8, 1);
        var epochs = File.ReadLines(folder.File("output", "metrics.jsonl")).Select(l => System.Text.Json.JsonDocument.Parse(l).RootElement).ToArray();
        var adjustments = epochs.Where(e => e.TryGetProperty("adjustments", out _)).SelectMany(e => e.GetProperty("adjustments").EnumerateArray()).Select(a => a.GetString()!).ToArray();
        Assert.NotEmpty(adjustments);
        Assert.All(adjustments, a => Assert.Contains(" because ", a, StringComparison.Ordinal));
    }

    [Fact]
    public void Diverging_LearningRate_EndsAsBadInput()
    {
        using var folder = TrainerFolder.Tabular(classification: false, change: s => s with
        {
            Epochs = 50,
            Model = s.Model with { Normalization = Normalization.None },
            Optimizer = new OptimizerSpec { Name = OptimizerName.Sgd, LearningRate = 10 },
            Schedule = new ScheduleSpec { Name = ScheduleName.Constant },
        });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(2, result.ExitCode);
        Assert.True(result.Of("error").Single().GetProperty("errors").TryGetProperty("optimizer.learningRate", out _));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void DivergedAfterTheLastStepOfAnEpoch_IsRefusedInsteadOfMeasured(bool classification)
    {
        // One batch an epoch: each loss is taken before its update, so the validation behind it is the first to see infinite outputs.
        using var folder = TrainerFolder.Tabular(classification, rows: 64, change: s => s with
        {
            Epochs = 200,
            BatchSize = 64,
            Model = new ModelSpec { Family = ModelFamily.TabularMlp, Width = 64, Blocks = 4, Normalization = Normalization.None },
            Optimizer = new OptimizerSpec { Name = OptimizerName.Sgd, LearningRate = 10 },
        });

        var result = TrainerRunner.Run(folder);

        Assert.Equal(2, result.ExitCode);
        Assert.True(result.Of("error").Single().GetProperty("errors").TryGetProperty("optimizer.learningRate", out _));
    }

    private static RunSpec Vary(RunSpec spec, string variant) => variant switch
    {
        "accumulation" => spec with { GradientAccumulation = 3, GradientClip = 0.5, ClassWeights = ClassWeights.Balanced, LabelSmoothing = 0.1 },
        "sgd" => spec with { Optimizer = new OptimizerSpec { Name = OptimizerName.Sgd, LearningRate = 0.05, Nesterov = true }, Schedule = new ScheduleSpec { Name = ScheduleName.OneCycle } },
        "adaptive" => Adaptive(spec),
        "adaptive early stopping" => Adaptive(spec) with { EarlyStopping = new EarlyStoppingSpec { Patience = 2 }, Epochs = 8 },
        "adaptive precision" => spec with { Precision = RunPrecision.Adaptive, Device = "cpu" },
        "early stopping" => spec with { EarlyStopping = new EarlyStoppingSpec { Patience = 1, Metric = MetricName.Accuracy }, Epochs = 8 },
        "half weights" => spec with { Precision = RunPrecision.Bf16Weights, Epochs = 4 },
        "half weights adaptive precision" => spec with { Precision = RunPrecision.Adaptive, Epochs = 4 },
        "half weights early stopping" => spec with { Precision = RunPrecision.Bf16Weights, Epochs = 4, EarlyStopping = new EarlyStoppingSpec { Patience = 1, Metric = MetricName.Accuracy } },
        "layer norm" => spec with { Model = spec.Model with { Normalization = Normalization.Layer, Dropout = 0.3, Activation = ActivationName.Gelu } },
        _ => spec,
    };

    private static RunSpec Adaptive(RunSpec spec) => spec with { Optimizer = new OptimizerSpec { Name = OptimizerName.Adaptive, LearningRate = 0.01 }, Schedule = new ScheduleSpec() };

    private static void AssertSameOutput(TrainerFolder expected, TrainerFolder actual) =>
        Assert.All(s_outputs, name => Assert.True(Output(expected, name).AsSpan().SequenceEqual(Output(actual, name)), $"{name} differs"));

    private static byte[] Output(TrainerFolder folder, string name) => File.ReadAllBytes(folder.File("output", name));
}
