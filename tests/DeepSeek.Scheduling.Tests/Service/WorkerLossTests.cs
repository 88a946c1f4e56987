using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Service;

/// <summary>Offers that nobody takes, workers that fall silent, and what they say too late.</summary>
public sealed class WorkerLossTests(SchedulingFixture fixture) : IClassFixture<SchedulingFixture>
{
    private readonly string _kind = SchedulingTestExtensions.NewKind();
    private readonly HttpClient _client = fixture.ClientOf(Roles.Operator, "ada");
    private readonly HttpClient _service = fixture.ClientOf(Roles.Service);

    [Fact]
    public async Task Offer_Lost_IsMadeAgainUnderANewLease()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var lost = await worker.OfferAsync(id);
        await fixture.Database.RunOutAsync(id);

        var again = await worker.TakeAsync(id, after: lost);

        Assert.NotEqual(lost.LeaseId, again.LeaseId);
        Assert.Equal(HttpStatusCode.Conflict, await worker.AcquireAsync(lost));
        Assert.Equal(1, (await _client.JobAsync(id)).Attempt);
    }

    [Fact]
    public async Task Worker_Dies_AnotherAttemptFollowsWithTheCauseOnRecord()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var first = await worker.TakeAsync(id);
        await fixture.Database.RunOutAsync(id);

        var second = await worker.TakeAsync(id, after: first);

        Assert.Equal(JobDirective.Lost, await worker.BeatAsync(first));
        Assert.Equal(JobDirective.Continue, await worker.BeatAsync(second));
        await worker.CompleteAsync(second);
        await _client.JobAsync(id, JobState.Succeeded);
        var attempts = await _client.GetFromJsonAsync<AttemptView[]>($"/api/v1/jobs/{id}/attempts", PlatformJson.Options);
        Assert.Equal([AttemptOutcome.Lost, AttemptOutcome.Completed], attempts!.Select(attempt => attempt.Outcome!.Value));
        Assert.Contains($"'{worker.Id}' sent no heartbeat", attempts![0].Cause);
    }

    [Fact]
    public async Task Worker_DiesEveryTime_JobFailsAfterItsAttempts()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind, maxAttempts: 2);
        var first = await worker.TakeAsync(id);
        await fixture.Database.RunOutAsync(id);
        await worker.TakeAsync(id, after: first);
        await fixture.Database.RunOutAsync(id);

        var failed = await _client.JobAsync(id, JobState.Failed);

        Assert.Equal((2, 2), (failed.Attempt, failed.MaxAttempts));
        var ended = await fixture.Bus.ReceiveAsync<JobEnded>(message => message.JobId == id);
        Assert.Contains("no heartbeat", ended.Error);
    }

    [Fact]
    public async Task Report_StaleLease_OnlyCompletionCounts()
    {
        var worker = await WorkerAsync();
        var id = await fixture.Bus.SubmitAsync(_kind);
        var stale = await worker.TakeAsync(id);
        await fixture.Database.RunOutAsync(id);
        var current = await worker.TakeAsync(id, after: stale);

        Guid[] ignored = [await worker.FailAsync(stale, "late failure", retryable: false), await worker.YieldAsync(stale), await worker.CancelledAsync(stale)];
        await fixture.Database.HandledAsync(ignored);
        Assert.Equal(JobDirective.Continue, await worker.BeatAsync(current));
        await worker.CompleteAsync(stale);

        var done = await _client.JobAsync(id, JobState.Succeeded);
        Assert.Null(done.Error);
        Assert.Equal(JobDirective.Lost, await worker.BeatAsync(current));
        await fixture.Database.HandledAsync(await worker.CompleteAsync(current));
        // The end was told in the transaction before, so a second one would be told by now or wait in the outbox.
        await Eventually.True(async () => await fixture.Database.ScalarAsync<long>("select count(*) from outbox_messages") == 0);
        Assert.Single(fixture.Bus.Received<JobEnded>(), message => message.Message.JobId == id);
    }

    private Task<ProtocolWorker> WorkerAsync(int slots = 1) => ProtocolWorker.StartAsync(fixture.Bus, _service, _kind, slots);
}
