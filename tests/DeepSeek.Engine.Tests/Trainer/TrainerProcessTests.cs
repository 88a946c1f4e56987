using System.Text.Json;
using DeepSeek.Contracts.Training;
using DeepSeek.Trainer;

namespace DeepSeek.Engine.Tests.Trainer;

/// <summary>The trainer as the process it is.</summary>
public sealed class TrainerProcessTests
{
    // Text: dropout draws, and the kills fall into the indexers' dense warm-up and behind it.
    [Theory]
    [InlineData("tabular")]
    [InlineData("text")]
    public void Kill9_MidRun_ResumesToTheWeightsOfAnUndisturbedRun(string kind)
    {
        // Long enough that the kill falls into the run; a checkpoint every third step.
        using var undisturbed = Folder();
        using var disturbed = Folder();
        Assert.Equal(0, TrainerRunner.Finish(TrainerRunner.Start(undisturbed)).ExitCode);

        for (var kill = 1; kill <= 2; kill++)
        {
            using var process = TrainerRunner.Start(disturbed);
            TrainerRunner.Await(process, "checkpoint", 3 * kill);
            process.Kill();
            process.WaitForExit();
            Assert.Equal(137, process.ExitCode);
            Assert.False(File.Exists(disturbed.File("output", "model.json")));
        }
        var result = TrainerRunner.Finish(TrainerRunner.Start(disturbed));

        Assert.Equal(0, result.ExitCode);
        Assert.True(result.Of("started").Single().GetProperty("resumedFromStep").GetInt64() >= 9);
        foreach (var name in (string[])["weights.safetensors", "model.onnx", "model.json", "metrics.jsonl"])
        {
            Assert.Equal(File.ReadAllBytes(undisturbed.File("output", name)), File.ReadAllBytes(disturbed.File("output", name)));
        }

        TrainerFolder Folder() => kind == "tabular" ? TrainerFolder.Tabular(change: Longer) : TrainerFolder.Text(change: s => s with
        {
            Epochs = 4,
            CheckpointEvery = 3,
            Model = s.Model with { Dropout = 0.1, Attention = new AttentionSpec { Kind = AttentionKind.TokenSparse, Tokens = 8, Warmup = 0.4 } },
        });
    }

    /// <summary>Layers are in FP8 (emulated) from step 49 on; the kill falls behind the checkpoint of step 60, which holds their scales and histories.</summary>
    [Fact]
    public void Kill9_WithLayersInFp8_ResumesToTheWeightsOfAnUndisturbedRun()
    {
        using var undisturbed = Folder();
        using var disturbed = Folder();
        var whole = TrainerRunner.Finish(TrainerRunner.Start(undisturbed, emulatesFp8: true));
        Assert.True(whole.ExitCode == 0, string.Join('\n', whole.Events));

        using (var process = TrainerRunner.Start(disturbed, emulatesFp8: true))
        {
            TrainerRunner.Await(process, "checkpoint", 3);
            process.Kill();
            process.WaitForExit();
            Assert.Equal(137, process.ExitCode);
        }
        var result = TrainerRunner.Finish(TrainerRunner.Start(disturbed, emulatesFp8: true));

        Assert.Equal(0, result.ExitCode);
        Assert.True(result.Of("started").Single().GetProperty("resumedFromStep").GetInt64() >= 60);
        foreach (var name in (string[])["weights.safetensors", "model.onnx", "model.json", "metrics.jsonl"])
        {
            Assert.Equal(File.ReadAllBytes(undisturbed.File("output", name)), File.ReadAllBytes(disturbed.File("output", name)));
        }
        var last = JsonDocument.Parse(File.ReadAllLines(disturbed.File("output", "metrics.jsonl"))[^1]).RootElement;
        Assert.Equal(8, last.GetProperty("layers").GetProperty("fp8").GetInt32());
        var compute = result.Of("compute").Last().GetProperty("reasons").EnumerateArray().Select(r => r.GetString()!).ToArray();
        Assert.Contains(compute, r => r.StartsWith("FP8 is computed in float32", StringComparison.Ordinal));
        Assert.EndsWith("8 layers in fp8.", compute[^1], StringComparison.Ordinal);

        static TrainerFolder Folder() => TrainerFolder.Text(context: 32, change: s => s with { Epochs = 7, CheckpointEvery = 20, Precision = RunPrecision.Adaptive, Device = "cpu" });
    }

    [Theory]
    [InlineData("yield")]
    [InlineData("SIGTERM")]
    public void StopRequest_MidRun_CheckpointsAndExits75(string how)
    {
        using var folder = TrainerFolder.Tabular(change: s => s with { Epochs = 10_000, CheckpointEvery = 1_000_000 });
        using var process = TrainerRunner.Start(folder);
        TrainerRunner.Await(process, "progress", 1);
        if (how == "yield")
        {
            process.StandardInput.WriteLine("yield");
            process.StandardInput.Flush();
        }
        else
        {
            Assert.Equal(0, Posix.Kill(process.Id, Posix.Terminate));
        }

        var result = TrainerRunner.Finish(process);

        Assert.Equal(75, result.ExitCode);
        Assert.Single(result.Of("checkpoint"));
        Assert.Single(Directory.GetFiles(folder.File("checkpoints")));
    }

    [Fact]
    public void SecondTrainer_InTheSameFolder_IsKeptOut()
    {
        using var folder = TrainerFolder.Tabular();
        using var first = new WorkFolder(folder.Root).Lock(TimeSpan.Zero);

        var output = new StringWriter();
        using var stop = new StopSignal();
        var exit = TrainerProcess.Run(new WorkFolder(folder.Root), new TrainerEvents(output), stop, TimeSpan.FromMilliseconds(300));

        Assert.Equal(TrainerExit.Fault, exit);
        Assert.Contains("Another trainer", output.ToString());
    }

    [Fact]
    public void ParentKilled_MidRun_TrainerCheckpointsAndEnds()
    {
        using var folder = TrainerFolder.Tabular(change: s => s with { Epochs = 10_000, CheckpointEvery = 1_000_000 });
        // A shell between this process and the trainer, killed while the trainer runs; it may not find dotnet by name, as .NET itself does.
        var dotnet = Path.GetFullPath("../../../dotnet", System.Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory());
        var command = $"'{dotnet}' '{Path.Combine(AppContext.BaseDirectory, "DeepSeek.Trainer.dll")}' --work '{folder.Root}'; true";
        using var shell = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("sh", ["-c", command]) { RedirectStandardOutput = true, RedirectStandardInput = true })!;
        TrainerRunner.Await(shell, "progress", 1);

        shell.Kill();
        using var ended = new WorkFolder(folder.Root).Lock(TimeSpan.FromMinutes(2));

        Assert.Single(Directory.GetFiles(folder.File("checkpoints"), "*.ckpt"));
    }

    [Theory]
    [InlineData("spec", "epochs")]
    [InlineData("no spec", "spec.json")]
    [InlineData("manifest", "dataset")]
    [InlineData("shard missing", "dataset")]
    [InlineData("shard damaged", "dataset")]
    [InlineData("pipeline", "dataset")]
    [InlineData("family", "model.family")]
    public void BadInput_Exits2NamingTheField(string damage, string field)
    {
        using var folder = TrainerFolder.Tabular();
        switch (damage)
        {
            case "spec":
                folder.WriteSpec(s => s with { Epochs = 0 });
                break;
            case "no spec":
                File.Delete(folder.File("spec.json"));
                break;
            case "manifest":
                File.WriteAllText(folder.File("dataset.json"), "{}");
                break;
            case "shard missing":
                File.Delete(Directory.GetFiles(folder.File("data"))[0]);
                break;
            case "shard damaged":
                Array.ForEach(Directory.GetFiles(folder.File("data")), f => File.WriteAllBytes(f, File.ReadAllBytes(f)[..2000]));
                break;
            case "pipeline":
                File.WriteAllText(folder.File("pipeline.onnx"), "nonsense");
                break;
            case "family":
                folder.WriteSpec(s => s with { Model = new ModelSpec { Family = ModelFamily.ConvNet } });
                break;
        }

        var result = TrainerRunner.Run(folder);

        Assert.Equal(2, result.ExitCode);
        var error = result.Of("error").Single();
        Assert.True(error.GetProperty("errors").TryGetProperty(field, out _), error.GetRawText());
        Assert.NotEqual(JsonValueKind.Undefined, error.GetProperty("message").ValueKind);
    }

    [Fact]
    public void WithoutArguments_Exits2()
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "DeepSeek.Trainer.dll")]) { RedirectStandardError = true })!;

        Assert.Contains("--work", process.StandardError.ReadToEnd());
        process.WaitForExit();
        Assert.Equal(2, process.ExitCode);
    }

    private static RunSpec Longer(RunSpec spec) => spec with { Epochs = 12, CheckpointEvery = 3, EarlyStopping = new EarlyStoppingSpec { Patience = 6 } };
}

internal static partial class Posix
{
    internal const int Terminate = 15;

    [System.Runtime.InteropServices.LibraryImport("libc", EntryPoint = "kill")]
    internal static partial int Kill(int pid, int signal);
}
