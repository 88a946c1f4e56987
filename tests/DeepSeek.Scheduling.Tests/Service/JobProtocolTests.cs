using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Service;

public sealed class JobProtocolTests(SchedulingFixture fixture) : IClassFixture<SchedulingFixture>
{
    private readonly string _kind = SchedulingTestExtensions.NewKind();
    private readonly HttpClient _client = fixture.ClientOf(Roles.Operator, "ada");
    private readonly HttpClient _service = fixture.ClientOf(Roles.Service);

    [Fact]
    public async Task Schema_Scripts_MatchTheModel() => await SchemaAssert.MatchesModel<SchedulingDb>(fixture.Services);

    [Fact]
    public async Task Submit_WorkerLive_RunsAndEndsOnce()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var offer = await worker.TakeAsync(id);
        var running = await _client.JobAsync(id, JobState.Running);
        await worker.BeatAsync(offer, 0.25, "quarter");
        var quarter = await _client.JobAsync(id);

        await worker.CompleteAsync(offer);

        var done = await _client.JobAsync(id, JobState.Succeeded);
        Assert.Equal((1, 1, 60), (offer.Attempt, running.Attempt, offer.LeaseSeconds));
        Assert.Equal((0.25, "quarter"), (quarter.Progress, quarter.Message));
        Assert.Equal(($"/api/v1/things/{offer.SubjectId}", 1.0, null), (done.Result, done.Progress, done.Error));
        var ended = await fixture.Bus.ReceiveAsync<JobEnded>(message => message.JobId == id);
        Assert.Equal((_kind, offer.SubjectId, JobState.Succeeded, offer.Attempt), (ended.Kind, ended.SubjectId, ended.State, ended.Attempt));
        Assert.Single(fixture.Bus.Received<JobEnded>(), message => message.Message.JobId == id);
    }

    [Fact]
    public async Task Submit_SameJobTwice_RunsOnce()
    {
        var submit = new SubmitJob
        {
            JobId = Guid.NewGuid(), Kind = _kind, SubjectId = Guid.NewGuid(), Name = "twice", Owner = "ada", SubmittedAt = DateTimeOffset.UtcNow,
        };
        var message = Guid.NewGuid();
        await fixture.Bus.PublishAsync(submit, message);
        await fixture.Bus.PublishAsync(submit, message);
        await fixture.Bus.PublishAsync(submit);
        await _client.JobAsync(submit.JobId, JobState.Queued);
        var worker = await WorkerAsync(slots: 3);

        await worker.CompleteAsync(await worker.TakeAsync(submit.JobId));

        await _client.JobAsync(submit.JobId, JobState.Succeeded);
        Assert.Single(fixture.Bus.Received<RunJob>(), offer => offer.Message.JobId == submit.JobId);
    }

    [Fact]
    public async Task Offer_DeliveredTwice_IsAcceptedByOneWorker()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var offer = await worker.TakeAsync(id);

        Assert.Equal(HttpStatusCode.Conflict, await worker.Twin().AcquireAsync(offer));
        Assert.Equal(HttpStatusCode.OK, await worker.AcquireAsync(offer));
    }

    [Fact]
    public async Task Fail_Retryable_BacksOffAndRunsAgain()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var first = await worker.TakeAsync(id);
        await worker.FailAsync(first, "disk full", retryable: true);

        var second = await worker.TakeAsync(id, after: first);
        await worker.FailAsync(second, "bad column 'age'", retryable: false);

        var failed = await _client.JobAsync(id, JobState.Failed);
        Assert.Equal(("bad column 'age'", 2), (failed.Error, failed.Attempt));
    }

    [Fact]
    public async Task Retry_FailedJob_RunsOnceMore()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var first = await worker.TakeAsync(id);
        await worker.FailAsync(first, "bad", retryable: false);
        await _client.JobAsync(id, JobState.Failed);

        using var retried = await _client.PostAsync($"/api/v1/jobs/{id}/retry", null);

        Assert.Equal(HttpStatusCode.OK, retried.StatusCode);
        await worker.CompleteAsync(await worker.TakeAsync(id, after: first));
        await _client.JobAsync(id, JobState.Succeeded);
        using var again = await _client.PostAsync($"/api/v1/jobs/{id}/retry", null);
        Assert.Equal(HttpStatusCode.Conflict, again.StatusCode);
    }

    [Fact]
    public async Task Preempt_HigherJobWaits_LowerYieldsAndResumesAfterwards()
    {
        var worker = await WorkerAsync();
        var low = await fixture.Bus.SubmitAsync(_kind, priority: 10, name: "low");
        var lowRun = await worker.TakeAsync(low);
        var high = await fixture.Bus.SubmitAsync(_kind, priority: 90, name: "high");
        await Eventually.True(async () => await worker.BeatAsync(lowRun) == JobDirective.Yield);

        var waiting = await _client.JobAsync(high);
        await worker.YieldAsync(lowRun);

        Assert.Equal("The only slot is busy with 'low' (priority 10, stopping).", waiting.WaitingFor);
        var highRun = await worker.TakeAsync(high);
        Assert.Equal("The only slot is busy with 'high' (priority 90).", (await _client.JobAsync(low)).WaitingFor);
        await worker.CompleteAsync(highRun);
        await worker.CompleteAsync(await worker.TakeAsync(low, after: lowRun));
        var done = await _client.JobAsync(low, JobState.Succeeded);
        Assert.Equal(1, done.Attempt);
    }

    [Fact]
    public async Task Cancel_Queued_EndsAtOnceAndSaysWhoDidIt()
    {
        var id = await fixture.Bus.SubmitAsync(_kind);
        await _client.JobAsync(id, JobState.Queued);

        using var response = await _client.PostAsync($"/api/v1/jobs/{id}/cancel", null);

        var job = await response.Content.ReadFromJsonAsync<JobView>(PlatformJson.Options);
        Assert.Equal((JobState.Cancelled, "Cancelled by ada."), (job!.State, job.Error));
        await fixture.Bus.ReceiveAsync<JobEnded>(message => message.JobId == id && message.State == JobState.Cancelled);
    }

    [Fact]
    public async Task Cancel_Running_ReachesTheWorkerWithItsHeartbeat()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var offer = await worker.TakeAsync(id);

        await _client.PostAsync($"/api/v1/jobs/{id}/cancel", null);

        Assert.Equal(JobDirective.Cancel, await worker.BeatAsync(offer));
        await worker.CancelledAsync(offer);
        await _client.JobAsync(id, JobState.Cancelled);
    }

    [Fact]
    public async Task Waiting_NoWorker_SaysSoUntilOneComes()
    {
        var id = await fixture.Bus.SubmitAsync(_kind);
        var waiting = await _client.JobAsync(id, JobState.Queued);

        var worker = await WorkerAsync();

        Assert.Equal($"No live worker takes jobs of kind '{_kind}'.", waiting.WaitingFor);
        await worker.TakeAsync(id);
        Assert.Null((await _client.JobAsync(id)).WaitingFor);
    }

    [Fact]
    public async Task Waiting_OfferOpen_SaysThatAcceptanceIsAwaited()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        await worker.OfferAsync(id);

        var leased = await _client.JobAsync(id, job => job.WaitingFor?.Contains("awaiting acceptance") ?? false, "awaiting acceptance");

        Assert.Equal(JobState.Leased, leased.State);
    }

    [Fact]
    public async Task Beat_NulAndLoneSurrogate_AreStoredReadable()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var offer = await worker.TakeAsync(id);

        await worker.BeatAsync(offer, 0.1, "a\0b", "c\0d");

        Assert.Equal("a\uFFFDb", (await _client.JobAsync(id)).Message);
        var log = await _client.GetFromJsonAsync<Page<LogLine>>($"/api/v1/jobs/{id}/logs", PlatformJson.Options);
        Assert.Equal("c\uFFFDd", Assert.Single(log!.Items).Line);
    }

    private Task<ProtocolWorker> WorkerAsync(int slots = 1) => ProtocolWorker.StartAsync(fixture.Bus, _service, _kind, slots);
}
