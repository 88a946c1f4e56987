using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;
using DeepSeek.Training.Runs;
using DeepSeek.Training.Tests.Platform;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace DeepSeek.Training.Tests;

public sealed class JobEndedTests(TrainingPlatform platform) : IClassFixture<TrainingPlatform>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Failed_RunOfThatAttempt_EndsItAndKeepsItsFolder()
    {
        var run = await AddAsync(SubjectState.Running, attempt: 2);

        await platform.Bus.PublishAsync(Ended(run, JobState.Failed, attempt: 2));

        Assert.Equal("no worker came", (await platform.RunAsync(run.Id, SubjectState.Failed)).Error);
        Assert.True(Directory.Exists(platform.FolderOf(run.Id)), "the folder is there for a retry");
    }

    [Fact]
    public async Task Failed_RetryHasStartedSince_ChangesNothing()
    {
        var run = await AddAsync(SubjectState.Running, attempt: 3);
        var (failed, cancelled) = (Guid.NewGuid(), Guid.NewGuid());

        await platform.Bus.PublishAsync(Ended(run, JobState.Failed, attempt: 2), failed);
        await platform.Bus.PublishAsync(Ended(run, JobState.Cancelled, attempt: 2), cancelled);

        await platform.Training.Database.HandledAsync(failed, cancelled);
        Assert.Equal(SubjectState.Running, (await platform.RunAsync(run.Id)).State);
        Assert.True(Directory.Exists(platform.FolderOf(run.Id)), "the retry works there");
    }

    [Fact]
    public async Task Cancelled_AttemptUnknown_EndsTheRunAndClearsItsFolder()
    {
        var run = await AddAsync(SubjectState.Running, attempt: 3);

        await platform.Bus.PublishAsync(Ended(run, JobState.Cancelled, attempt: 0));

        await platform.RunAsync(run.Id, SubjectState.Cancelled);
        await Eventually.True(() => !Directory.Exists(platform.FolderOf(run.Id)));
    }

    [Fact]
    public async Task Sweep_FailedRuns_KeepsTheFoldersOfThePastSevenDays()
    {
        var now = DateTimeOffset.UtcNow;
        var (recent, old) = (await AddAsync(SubjectState.Failed, 1, now.AddDays(-6.9)), await AddAsync(SubjectState.Failed, 1, now.AddDays(-7.1)));
        var (cancelled, running) = (await AddAsync(SubjectState.Cancelled, 1, now), await AddAsync(SubjectState.Running, 1));

        await platform.Training.Services.GetServices<IHostedService>().OfType<RunFolderSweeper>().Single().SweepAsync(Token);

        Assert.Equal([true, false, false, true],
            new[] { recent, old, cancelled, running }.Select(run => Directory.Exists(platform.FolderOf(run.Id))));
    }

    private static JobEnded Ended(Run run, JobState state, int attempt) => new()
    {
        JobId = run.JobId, Kind = JobKinds.Train, SubjectId = run.Id, State = state, Attempt = attempt, Error = "no worker came",
    };

    private async Task<Run> AddAsync(SubjectState state, int attempt, DateTimeOffset? endedAt = null)
    {
        var run = new Run
        {
            Id = Guid.CreateVersion7(), JobId = Guid.NewGuid(), Name = "n", ModelName = "m", Owner = "ada", DatasetManifestSha256 = "", Spec = "{}",
            State = state, Attempt = attempt, LeaseId = Guid.NewGuid(), CreatedAt = DateTimeOffset.UtcNow, EndedAt = endedAt,
        };
        await using var scope = platform.Training.Services.CreateAsyncScope();
        var db = scope.ServiceProvider.GetRequiredService<TrainingDb>();
        db.Runs.Add(run);
        await db.SaveChangesAsync(Token);
        Directory.CreateDirectory(platform.FolderOf(run.Id));
        return run;
    }
}
