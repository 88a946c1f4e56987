using DeepSeek.Contracts.Jobs;
using DeepSeek.Contracts.Training;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Tests.Platform;

namespace DeepSeek.Training.Tests;

/// <summary>What a healthy trainer seldom does, played by a shell script that is told its part by the model's name.</summary>
public sealed class TrainerProtocolTests(TrainerProtocolTests.Fixture platform) : IClassFixture<TrainerProtocolTests.Fixture>
{
    private const UnixFileMode Executable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    public sealed class Fixture : TrainingPlatform
    {
        public TestFolder Scripts { get; } = new();

        protected override void Configure(ServiceFactory<TrainingDb> training)
        {
            var script = Path.Combine(Scripts.Path, "trainer");
            File.WriteAllText(script, """
                #!/bin/sh
                # Called as: trainer --work FOLDER. The model's name says which part to play.
                cd "$2"
                write_output() {
                  mkdir -p output
                  echo onnx > output/model.onnx
                  echo weights > output/weights.safetensors
                  echo '{"metrics":{"accuracy":0.5},"framework":{"engine":"0.0.0","libtorch":"0.0.0"}}' > output/model.json
                }
                case "$(sed 's/.*"modelName":"\([^"]*\)".*/\1/' spec.json)" in
                  chatty) echo 'not json'; echo '{broken'; echo '{"event":"news"}'; write_output; exit 0 ;;
                  refuses) echo '{"event":"error","message":"classWeights.left: too large."}'; exit 2 ;;
                  full) echo '{"event":"error","message":"No space left on device"}'; exit 1 ;;
                  crashes) echo 'corrupted heap' >&2; kill -SEGV $$ ;;
                  leaves-once) [ -f left ] && { write_output; exit 0; }; touch left; exit 75 ;;
                  waits) until [ -f go ]; do sleep 0.1; done; write_output; exit 0 ;;
                esac
                """);
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(script, Executable);
            }
            training.With("Trainer:Path", script);
        }
    }

    [Fact]
    public async Task Trainer_WritesNonsense_IsLoggedAndDoesNoHarm()
    {
        var accepted = await StartAsync("chatty");

        var run = await platform.RunAsync(accepted.Id, SubjectState.Succeeded);

        Assert.Equal(0.5, run.Metrics!["accuracy"]);
    }

    [Fact]
    public async Task Trainer_RefusesInput_FailsAtOnceWithItsWords()
    {
        var accepted = await StartAsync("refuses");

        var job = await platform.JobAsync(accepted.JobId, JobState.Failed);

        Assert.Equal(("classWeights.left: too large.", 1), (job.Error, job.Attempt));
    }

    [Fact]
    public async Task Trainer_DiskFullEveryTime_FailsAfterItsAttemptsAndTheRunSaysWhy()
    {
        var accepted = await StartAsync("full");

        var job = await platform.JobAsync(accepted.JobId, JobState.Failed);

        Assert.Equal(3, job.Attempt);
        var run = await platform.RunAsync(accepted.Id, SubjectState.Failed);
        Assert.Equal("No space left on device", run.Error);
        Assert.True(Directory.Exists(platform.FolderOf(run.Id))); // a retry goes on from its checkpoints
    }

    [Fact]
    public async Task Trainer_Crashes_ErrorNamesSignalAndLastWords()
    {
        var accepted = await StartAsync("crashes");

        var job = await platform.JobAsync(accepted.JobId, JobState.Failed);

        Assert.Equal("The trainer crashed (signal 11); it wrote last: corrupted heap", job.Error);
    }

    [Fact]
    public async Task Trainer_StoppedFromOutside_IsTakenForAYield()
    {
        var accepted = await StartAsync("leaves-once");

        await platform.RunAsync(accepted.Id, SubjectState.Succeeded);

        Assert.Equal(1, (await platform.JobAsync(accepted.JobId, JobState.Succeeded)).Attempt);
    }

    [Fact]
    public async Task Result_NewerAttemptHoldsTheRun_IsNotStored()
    {
        var accepted = await StartAsync("waits");
        await Eventually.True(() => TrainerProcesses.Of(accepted.Id).Count > 0);
        await platform.Training.Database.ScalarAsync<object>(
            $"update runs set attempt = 1000, lease_id = '{Guid.NewGuid()}' where id = '{accepted.Id}'");

        await File.WriteAllTextAsync(Path.Combine(platform.FolderOf(accepted.Id), "go"), "");

        await Eventually.True(() => TrainerProcesses.Of(accepted.Id).Count == 0);
        // The attempt was dropped, so its lease runs out, and further attempts find the row taken by number 1000.
        await platform.JobAsync(accepted.JobId, async job =>
        {
            if (job.State == JobState.Running)
            {
                await platform.Scheduling.Database.RunOutAsync(accepted.JobId);
            }

            return job.State == JobState.Failed;
        }, "the job has failed");
        Assert.DoesNotContain(platform.Bus.Received<ModelTrained>(), message => message.Message.RunId == accepted.Id);
        Assert.Null((await platform.RunAsync(accepted.Id)).Artifacts);
    }

    private Task<RunAccepted> StartAsync(string part) => platform.StartAsync(platform.Spec(modelName: part));
}
