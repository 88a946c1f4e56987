using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Tests.Service;
using DeepSeek.ServiceDefaults;
using DeepSeek.ServiceDefaults.Jobs;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Workers;

public sealed class JobWorkerTests(SchedulingFixture fixture) : IClassFixture<SchedulingFixture>
{
    private readonly string _kind = SchedulingTestExtensions.NewKind();
    private readonly HttpClient _client = fixture.ClientOf(Roles.Operator, "ada");

    [Fact]
    public async Task Handler_Completes_ResultProgressAndLogArrive()
    {
        await using var worker = await StartAsync(async (job, db, _) =>
        {
            job.Report(0.5, "half way", "first line", "second line");
            await Script.CompleteAsync(job, db);
        });
        var id = await fixture.Bus.SubmitAsync(_kind);

        var done = await _client.JobAsync(id, JobState.Succeeded);

        Assert.Equal($"/api/v1/things/{done.SubjectId}", done.Result);
        // The completion may overtake the last heartbeat.
        var log = await Eventually.NotNull(async () =>
            await _client.GetFromJsonAsync<Page<LogLine>>($"/api/v1/jobs/{id}/logs", PlatformJson.Options) is { Items.Count: > 0 } page ? page : null);
        Assert.Equal(["first line", "second line"], log.Items.Select(line => line.Line));
    }

    [Fact]
    public async Task Handler_ThrowsOnce_IsRunAgainAndTheCauseIsKept()
    {
        await using var worker = await StartAsync((job, db, _) =>
            job.Attempt == 1 ? throw new IOException("No space left on device") : Script.CompleteAsync(job, db));
        var id = await fixture.Bus.SubmitAsync(_kind);

        var done = await _client.JobAsync(id, JobState.Succeeded);

        Assert.Equal(2, done.Attempt);
        var attempts = await _client.GetFromJsonAsync<AttemptView[]>($"/api/v1/jobs/{id}/attempts", PlatformJson.Options);
        Assert.Equal("No space left on device", attempts![0].Cause);
    }

    [Fact]
    public async Task Handler_Refuses_FailsAtOnceWithItsWords()
    {
        await using var worker = await StartAsync((_, _, _) => throw new JobRefusedException("Column 'age' is empty; leave it out."));
        var id = await fixture.Bus.SubmitAsync(_kind);

        var failed = await _client.JobAsync(id, JobState.Failed);

        Assert.Equal(("Column 'age' is empty; leave it out.", 1), (failed.Error, failed.Attempt));
    }

    [Fact]
    public async Task Cancel_Running_StopsTheHandler()
    {
        await using var worker = await StartAsync((_, _, cancelled) => Task.Delay(Timeout.Infinite, cancelled));
        var id = await fixture.Bus.SubmitAsync(_kind);
        await _client.JobAsync(id, JobState.Running);

        await _client.PostAsync($"/api/v1/jobs/{id}/cancel", null);

        var cancelled = await _client.JobAsync(id, JobState.Cancelled);
        Assert.Equal("Cancelled by ada.", cancelled.Error);
    }

    [Fact]
    public async Task Preempt_HigherJob_RunsFirstAndTheLowerResumes()
    {
        var script = new Script { Work = FirstYieldsOthersComplete() };
        await using var worker = await StartAsync(script);
        var low = await fixture.Bus.SubmitAsync(_kind, priority: 10);
        await _client.JobAsync(low, JobState.Running);
        await Eventually.True(() => script.Runs.Count == 1);
        var high = await fixture.Bus.SubmitAsync(_kind, priority: 90);

        await _client.JobAsync(low, JobState.Succeeded);

        Assert.Equal([(low, 1), (high, 1), (low, 2)], script.Runs);
        Assert.Equal(1, (await _client.JobAsync(low)).Attempt);
    }

    [Fact]
    public async Task Stop_HandlerYields_AnotherWorkerResumesAtNoCost()
    {
        var script = new Script { Work = FirstYieldsOthersComplete() };
        await using var leaving = await StartAsync(script);
        var id = await fixture.Bus.SubmitAsync(_kind, maxAttempts: 1);
        await _client.JobAsync(id, JobState.Running);
        await Eventually.True(() => script.Runs.Count == 1);
        await leaving.StopAsync();

        await using var next = await StartAsync(script);

        await _client.JobAsync(id, JobState.Succeeded);
        Assert.Equal(2, script.Runs.Count);
    }

    [Fact]
    public async Task Stop_HandlerDoesNotYield_LeaseIsGivenBackAtNoCost()
    {
        var release = new TaskCompletionSource();
        var script = new Script { Work = (_, _, _) => release.Task };
        await using var leaving = await WorkerHost.StartAsync(_kind, script, fixture.Vhost, fixture.Address, yieldSeconds: 0.5);
        var id = await fixture.Bus.SubmitAsync(_kind, maxAttempts: 1);
        await Eventually.True(() => script.Runs.Count == 1);
        await leaving.StopAsync();
        script.Work = (job, db, _) => Script.CompleteAsync(job, db);

        await using var next = await StartAsync(script);

        await _client.JobAsync(id, JobState.Succeeded);
        release.SetResult();
    }

    [Fact]
    public async Task Offer_WorkerFull_IsDeclinedAndRunsLater()
    {
        var release = new TaskCompletionSource();
        var script = new Script
        {
            Work = async (job, db, _) =>
            {
                await release.Task;
                await Script.CompleteAsync(job, db);
            },
        };
        await using var worker = await StartAsync(script);
        // Claims a slot that nobody serves, so that the real worker gets one offer too many.
        await fixture.Bus.PublishAsync(new WorkerSeen
        {
            WorkerId = "ghost", Kind = _kind, Slots = 1, Busy = 0, Host = "test", At = DateTimeOffset.UtcNow,
        });
        var ids = new[] { await fixture.Bus.SubmitAsync(_kind), await fixture.Bus.SubmitAsync(_kind) };
        var declined = await Eventually.NotNull(async () =>
        {
            var jobs = await Task.WhenAll(ids.Select(id => _client.JobAsync(id, _ => true, "known")));
            return jobs.FirstOrDefault(job => job.WaitingFor?.StartsWith("Held back", StringComparison.Ordinal) ?? false);
        });

        release.SetResult();

        await _client.JobAsync(ids[0], JobState.Succeeded);
        await _client.JobAsync(ids[1], JobState.Succeeded);
        Assert.Equal((0, 2), (declined.Attempt, script.Runs.Count));
    }

    private static Func<JobContext, WorkerDb, CancellationToken, Task> FirstYieldsOthersComplete()
    {
        var runs = 0;
        return (job, db, cancelled) => Interlocked.Increment(ref runs) == 1 ? YieldAsync(job, db, cancelled) : Script.CompleteAsync(job, db);
    }

    private static async Task YieldAsync(JobContext job, WorkerDb db, CancellationToken cancelled)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(job.YieldToken, cancelled);
        await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        job.Yield(db);
        await db.SaveChangesAsync(CancellationToken.None);
    }

    private Task<WorkerHost> StartAsync(Func<JobContext, WorkerDb, CancellationToken, Task> work) => StartAsync(new Script { Work = work });

    private Task<WorkerHost> StartAsync(Script script) => WorkerHost.StartAsync(_kind, script, fixture.Vhost, fixture.Address);
}
