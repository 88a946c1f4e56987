using System.Collections.Concurrent;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DeepSeek.Scheduling.Tests.Workers;

/// <summary>A worker beside a Scheduling that grants every lease and answers heartbeats when the test lets it.</summary>
public sealed class HeartbeatTests : IAsyncLifetime
{
    private readonly string _kind = Service.SchedulingTestExtensions.NewKind();
    private readonly TestVhost _vhost = new();
    private readonly ConcurrentQueue<Heartbeat> _beats = new();
    private readonly ConcurrentQueue<LeaseOutcome> _ends = new();
    private Task _answer = Task.CompletedTask;
    private StubServer _scheduling = null!;

    public async ValueTask InitializeAsync()
    {
        await _vhost.InitializeAsync();
        _scheduling = await StubServer.StartAsync(server =>
        {
            server.MapPost("/api/v1/jobs/{id:guid}/lease", () => Results.Ok());
            server.MapPut("/api/v1/jobs/{id:guid}/lease/{lease:guid}", async (HttpContext http) =>
            {
                _beats.Enqueue((await http.Request.ReadFromJsonAsync<Heartbeat>(PlatformJson.Options))!);
                await _answer.WaitAsync(http.RequestAborted);
                return Results.Json(new HeartbeatReply { Directive = JobDirective.Continue }, PlatformJson.Options);
            });
            server.MapPost("/api/v1/jobs/{id:guid}/lease/{lease:guid}/end", async (HttpRequest request) =>
            {
                _ends.Enqueue((await request.ReadFromJsonAsync<EndLease>(PlatformJson.Options))!.Outcome);
                return Results.Ok();
            });
        });
    }

    public async ValueTask DisposeAsync()
    {
        await _scheduling.DisposeAsync();
        await _vhost.DisposeAsync();
    }

    [Fact]
    public async Task Slot_WhoseHandlerHasEnded_IsFreeThoughTheLastHeartbeatHangs()
    {
        var answer = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _answer = answer.Task;
        var script = new Script { Work = (job, db, _) => Script.CompleteAsync(job, db) };
        await using var worker = await WorkerHost.StartAsync(_kind, script, _vhost, _scheduling.Address);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);
        await bus.SendAsync(JobKinds.Queue(_kind), Offer());
        await Eventually.True(() => script.Runs.Count == 1 && !_beats.IsEmpty);

        await bus.SendAsync(JobKinds.Queue(_kind), Offer());

        await Eventually.True(() => script.Runs.Count == 2);
        Assert.DoesNotContain(LeaseOutcome.Declined, _ends);
        answer.SetResult();
    }

    [Fact]
    public async Task Flush_SendsWhatWasReportedBeforeItReturns()
    {
        var sent = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new Script
        {
            Work = async (job, db, _) =>
            {
                job.Report(0.5, "half way", "last words");
                await job.FlushAsync();
                sent.SetResult(_beats.Any(beat => beat.Log.Contains("last words")));
                await Script.CompleteAsync(job, db);
            },
        };
        await using var worker = await WorkerHost.StartAsync(_kind, script, _vhost, _scheduling.Address);
        await using var bus = await TestBus.StartAsync(_vhost.ConnectionString);

        await bus.SendAsync(JobKinds.Queue(_kind), Offer());

        Assert.True(await sent.Task.WaitAsync(Eventually.Deadline));
    }

    private RunJob Offer() => new()
    {
        JobId = Guid.NewGuid(), Kind = _kind, SubjectId = Guid.NewGuid(), LeaseId = Guid.NewGuid(), Attempt = 1, LeaseSeconds = 60,
    };
}
