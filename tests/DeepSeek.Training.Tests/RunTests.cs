using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Contracts.Training;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Tests.Platform;

namespace DeepSeek.Training.Tests;

/// <summary>Runs with the real trainer.</summary>
public sealed class RunTests(TrainingPlatform platform) : IClassFixture<TrainingPlatform>
{
    [Fact]
    public async Task Schema_Scripts_MatchTheModel() => await SchemaAssert.MatchesModel<TrainingDb>(platform.Training.Services);

    [Fact]
    public async Task Run_SmallDataset_TrainsStoresAndRegisters()
    {
        var accepted = await platform.StartAsync(platform.Spec(modelName: "small"));

        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded);

        // A line through the origin separates the classes, so all but the rows next to it come out right.
        Assert.InRange(run.Metrics!["accuracy"], 0.96, 1);
        Assert.Equal(["model.onnx", "weights.safetensors", "model.json"], run.Artifacts!.Select(artifact => artifact.Name));
        var trained = await platform.Bus.ReceiveAsync<ModelTrained>(message => message.RunId == run.Id);
        Assert.Equal(("small", "ada", platform.DatasetId, platform.ManifestSha256),
            (trained.ModelName, trained.Owner, trained.DatasetId, trained.DatasetManifestSha256));
        var job = await platform.JobAsync(accepted.JobId, JobState.Succeeded);
        Assert.Equal(($"/api/v1/runs/{run.Id}", 1), (job.Result, job.Attempt));
        using var registry = platform.Registry.ClientOf(Roles.Reader);
        var version = await Eventually.NotNull(async () =>
        {
            using var response = await registry.GetAsync("/api/v1/models/small/versions/1");
            return response.IsSuccessStatusCode ? await response.Content.ReadAsStringAsync() : null;
        });
        Assert.Contains(TrainingPlatform.ShaOf(run, "model.onnx"), version);
        await Eventually.True(() => !Directory.Exists(platform.FolderOf(run.Id)));
    }

    [Fact]
    public async Task Run_ComputeMembers_AreStoredUsedAndTold()
    {
        var accepted = await platform.StartAsync(new
        {
            specVersion = 1,
            name = "half",
            modelName = "half",
            datasetId = platform.DatasetId,
            model = new { family = "tabularMlp", width = 16, blocks = 2 },
            optimizer = new { name = "sgd", learningRate = 0.05, momentum = 0.8 },
            epochs = 3,
            batchSize = 32,
            device = "cpu",
            precision = "bf16",
            capture = "off",
            checkpointing = "on",
        });

        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded);

        Assert.Equal(("cpu", "bf16", false), (run.Compute!.Device, run.Compute.Precision, run.Compute.Captured));
        Assert.Equal(["net.1", "net.2"], run.Compute.Recomputed);
        Assert.Equal("on", run.Spec.GetProperty("checkpointing").GetString());
        // What share of a ceiling that is depends on whether the machine was rated: HardwareAdviceTests.
        Assert.Equal(("bfloat16", true), (run.Compute.Usage!.Type, run.Compute.Usage.Flops > 0));
        Assert.StartsWith($"{run.Compute.Usage.Steps} steps of ", run.Compute.Advice!.Sentences[0], StringComparison.Ordinal);
        var log = await LogAsync(accepted.JobId);
        Assert.Contains(run.Compute.Advice.Sentences[0], log);
        Assert.Contains(log, line => line.StartsWith("computing on cpu (", StringComparison.Ordinal) && line.Contains("bf16", StringComparison.Ordinal));
        Assert.Contains(log, line => line == "bf16, as the spec asks.");
    }

    [Fact]
    public async Task Run_WithATrace_ServesItAsDocumentAndEvents()
    {
        var accepted = await platform.StartAsync(platform.Spec(epochs: 3, trace: new { steps = 4 }));
        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded);
        var plain = await platform.StartAsync(platform.Spec(epochs: 1));
        await platform.RunAsync(plain.Id, SubjectState.Succeeded);

        var trace = await platform.Runs.GetFromJsonAsync<JsonElement>($"/api/v1/runs/{run.Id}/trace");
        var events = await platform.Runs.GetFromJsonAsync<JsonElement>($"/api/v1/runs/{run.Id}/trace?format=chrome");
        using var missing = await platform.Runs.GetAsync($"/api/v1/runs/{plain.Id}/trace");
        using var refused = await platform.Runs.GetAsync($"/api/v1/runs/{run.Id}/trace?format=svg");

        Assert.Equal(["trace.json", "trace-events.json"], run.Artifacts!.Select(artifact => artifact.Name).Skip(3));
        Assert.Equal(4, trace.GetProperty("steps").GetInt32());
        Assert.NotEmpty(trace.GetProperty("summary").GetString()!);
        Assert.NotEqual(0, events.GetProperty("traceEvents").GetArrayLength());
        Assert.Equal(System.Net.HttpStatusCode.NotFound, missing.StatusCode);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, refused.StatusCode);
    }

    [Fact]
    public async Task Run_Metrics_AreASeriesOfLossesAndEpochs()
    {
        var accepted = await platform.StartAsync(platform.Spec(epochs: 15));
        await platform.RunAsync(accepted.Id, SubjectState.Succeeded);

        var accuracy = await platform.MetricsAsync(accepted.Id, "validation.accuracy");
        var loss = await platform.MetricsAsync(accepted.Id, "loss");

        Assert.Equal(Enumerable.Range(1, 15), accuracy.Select(point => point.Epoch));
        Assert.Equal(Enumerable.Range(1, 15).Select(epoch => epoch * 12L), accuracy.Select(point => point.Step));
        Assert.True(loss[^1].Value < loss[0].Value, "the loss fell");
    }

    [Fact]
    public async Task Trainer_Killed_ResumesAndEndsWithTheSameWeights()
    {
        var expected = await platform.UndisturbedAsync();
        var accepted = await platform.StartAsync(platform.LongSpec());
        await platform.CheckpointAsync(accepted.Id);

        TrainerProcesses.Kill(accepted.Id);

        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded);
        Assert.Equal(expected, TrainingPlatform.ShaOf(run, "weights.safetensors"));
        await platform.JobAsync(accepted.JobId, JobState.Succeeded);
        var attempts = await platform.Jobs.GetFromJsonAsync<AttemptView[]>($"/api/v1/jobs/{accepted.JobId}/attempts", PlatformJson.Options);
        Assert.Equal([AttemptOutcome.Failed, AttemptOutcome.Completed], attempts!.Select(attempt => attempt.Outcome!.Value));
        Assert.StartsWith("The trainer was killed (signal 9)", attempts![0].Cause);
        Assert.Contains(await LogAsync(accepted.JobId), line => line.StartsWith("resumed from the checkpoint at step", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Run_HigherPriorityWaits_YieldsResumesAndEndsWithTheSameWeights()
    {
        var expected = await platform.UndisturbedAsync();
        var low = await platform.StartAsync(platform.LongSpec(priority: 10));
        await platform.CheckpointAsync(low.Id);

        var high = await platform.StartAsync(platform.Spec(epochs: 1, priority: 90));

        var highRun = await platform.RunAsync(high.Id, SubjectState.Succeeded);
        var lowRun = await platform.RunAsync(low.Id, SubjectState.Succeeded);
        Assert.True(highRun.EndedAt < lowRun.EndedAt, "the higher run ended first");
        Assert.Equal(expected, TrainingPlatform.ShaOf(lowRun, "weights.safetensors"));
        Assert.Equal(1, (await platform.JobAsync(low.JobId, JobState.Succeeded)).Attempt);
    }

    [Fact]
    public async Task Cancel_Running_StopsTheTrainerAndClearsItsFolder()
    {
        var accepted = await platform.StartAsync(platform.Spec(epochs: 10_000));
        await platform.CheckpointAsync(accepted.Id);

        await platform.Jobs.PostAsync($"/api/v1/jobs/{accepted.JobId}/cancel", null);

        var run = await platform.RunAsync(accepted.Id, SubjectState.Cancelled);
        Assert.Equal("Cancelled by ada.", run.Error);
        await Eventually.True(() => TrainerProcesses.Of(accepted.Id).Count == 0 && !Directory.Exists(platform.FolderOf(accepted.Id)));
    }

    [Fact]
    public async Task Run_DivergingLoss_FailsAtOnceAndNamesTheField()
    {
        var accepted = await platform.StartAsync(platform.Spec(
            epochs: 200, model: new { family = "tabularMlp", width = 64, blocks = 4, normalization = "none" }, optimizer: new { name = "sgd", learningRate = 10.0, momentum = 0.999 }));

        var job = await platform.JobAsync(accepted.JobId, JobState.Failed);

        Assert.Equal(1, job.Attempt);
        Assert.StartsWith("optimizer.learningRate:", job.Error);
        Assert.Equal(job.Error, (await platform.RunAsync(accepted.Id, SubjectState.Failed)).Error);
    }

    private async Task<IReadOnlyList<string>> LogAsync(Guid job)
    {
        var lines = new List<string>();
        for (string? cursor = ""; cursor is not null;)
        {
            var page = await platform.Jobs.GetFromJsonAsync<Page<LogLine>>($"/api/v1/jobs/{job}/logs?limit=200&cursor={cursor}", PlatformJson.Options);
            lines.AddRange(page!.Items.Select(line => line.Line));
            cursor = page.Next;
        }
        return lines;
    }
}
