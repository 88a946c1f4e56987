using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using DeepSeek.Contracts.Devices;
using DeepSeek.Contracts.Jobs;
using DeepSeek.Scheduling.Jobs;
using DeepSeek.Scheduling.Workers;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace DeepSeek.Scheduling.Tests.Service;

public sealed class JobsApiTests(SchedulingFixture fixture) : IClassFixture<SchedulingFixture>
{
    private readonly string _kind = SchedulingTestExtensions.NewKind();
    private readonly HttpClient _client = fixture.ClientOf(Roles.Operator);

    [Fact]
    public async Task Workers_TellTheirRatedDevices_AndAreGoneWithTheirSlots()
    {
        var seen = new WorkerSeen
        {
            WorkerId = $"rated-{_kind}",
            Kind = _kind,
            Slots = 2,
            Busy = 1,
            Host = "machine",
            At = DateTimeOffset.UtcNow,
            Rating = 3e12,
            Devices = [new RatedDevice { Device = "cuda:0", Name = "Some GPU", FlopRates = new Dictionary<string, double> { ["bfloat16"] = 5e14 }, Bandwidth = 3e12, CallSeconds = 4e-6, Memory = 80L << 30 }],
        };
        await fixture.Bus.PublishAsync(seen);

        var worker = await Eventually.NotNull(async () => await WorkersAsync() is [var only] ? only : null);
        Assert.Equal(("machine", 2, 1, 3e12), (worker.Host, worker.Slots, worker.Busy, worker.Rating));
        var device = Assert.Single(worker.Devices);
        Assert.Equal(("cuda:0", "Some GPU", 5e14, 3e12, 4e-6, 80L << 30), (device.Device, device.Name, device.FlopRates["bfloat16"], device.Bandwidth, device.CallSeconds, device.Memory));
        await fixture.Bus.PublishAsync(seen with { Slots = 0 });
        await Eventually.True(async () => await WorkersAsync() is []);

        async Task<WorkerView[]> WorkersAsync() => (await _client.GetFromJsonAsync<WorkerView[]>($"/api/v1/jobs/workers?kind={_kind}", PlatformJson.Options))!;
    }

    [Theory]
    [InlineData("POST", "cancel")]
    [InlineData("POST", "retry")]
    [InlineData("PATCH", "")]
    public async Task Steer_AsReader_IsForbidden(string method, string action)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), $"/api/v1/jobs/{Guid.NewGuid()}/{action}".TrimEnd('/'))
        {
            Content = JsonContent.Create(new { priority = 1 }),
        };
        using var response = await fixture.ClientOf(Roles.Reader).SendAsync(request);
        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
    }

    [Fact]
    public async Task Lease_AsAdmin_IsForbidden()
    {
        using var response = await fixture.ClientOf(Roles.Admin).PostAsJsonAsync(
            $"/api/v1/jobs/{Guid.NewGuid()}/lease", new { leaseId = Guid.NewGuid(), workerId = "w" });
        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
    }

    [Theory]
    [InlineData("")]
    [InlineData("/events")]
    [InlineData("/logs")]
    [InlineData("/attempts")]
    public async Task Get_UnknownJob_Is404ThatNamesIt(string part)
    {
        var id = Guid.NewGuid();
        using var response = await _client.GetAsync($"/api/v1/jobs/{id}{part}");
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Contains(id.ToString(), await response.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Job_WhoseSubmissionIsUnderWay_IsWaitedFor()
    {
        var id = Guid.CreateVersion7();
        var (read, events, cancelled) = (_client.GetAsync($"/api/v1/jobs/{id}"), ReadEventsAsync(id), _client.PostAsync($"/api/v1/jobs/{id}/cancel", null));
        await PageAsync("");
        Assert.DoesNotContain(true, new Task[] { read, events, cancelled }.Select(asked => asked.IsCompleted));

        await fixture.Bus.PublishAsync(new SubmitJob
        {
            JobId = id, Kind = _kind, SubjectId = Guid.NewGuid(), Name = "late", Owner = "ada", SubmittedAt = DateTimeOffset.UtcNow,
        });

        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.OK), ((await read).StatusCode, (await cancelled).StatusCode));
        Assert.Equal(["state", "state"], (await events).Select(entry => entry.Type));
    }

    [Fact]
    public async Task Get_UnknownJobOfLongAgo_Is404()
    {
        using var response = await _client.GetAsync($"/api/v1/jobs/{Guid.CreateVersion7(DateTimeOffset.UtcNow.AddHours(-1))}");
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
    }

    [Fact]
    public async Task List_Filters_ReturnTheMatchingPageByPage()
    {
        var ids = new List<Guid>();
        for (var i = 0; i < 3; i++)
        {
            ids.Add(await fixture.Bus.SubmitAsync(_kind, name: $"job {i}"));
            await _client.JobAsync(ids[i], JobState.Queued);
        }

        var first = await PageAsync($"?kind={_kind}&state=queued&limit=2");
        var second = await PageAsync($"?kind={_kind}&state=queued&limit=2&cursor={first.Next}");
        var subject = await PageAsync($"?subject={first.Items[0].SubjectId}");

        Assert.Equal([ids[2], ids[1]], first.Items.Select(job => job.Id));
        Assert.Equal(ids[0], Assert.Single(second.Items).Id);
        Assert.Null(second.Next);
        Assert.Equal(first.Items[0].Id, Assert.Single(subject.Items).Id);
        Assert.Equal($"No live worker takes jobs of kind '{_kind}'. Behind 2 jobs of the same priority submitted earlier.", first.Items[0].WaitingFor);
    }

    [Theory]
    [InlineData("state=sleeping", "state")]
    [InlineData("state=1", "state")]
    [InlineData("limit=0", "limit")]
    [InlineData("cursor=%21", "cursor")]
    [InlineData("subject=me", "subject")]
    public async Task List_BadQuery_Is400ThatNamesTheField(string query, string field)
    {
        using var response = await _client.GetAsync($"/api/v1/jobs?{query}");
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(field, await response.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Priority_WithETag_ChangesOrderAndRefusesStaleOnes()
    {
        var id = await fixture.Bus.SubmitAsync(_kind, priority: 10);
        await _client.JobAsync(id, JobState.Queued);
        using var read = await _client.GetAsync($"/api/v1/jobs/{id}");

        Assert.Equal(HttpStatusCode.PreconditionRequired, await PatchAsync(id, 80, null));
        Assert.Equal(HttpStatusCode.OK, await PatchAsync(id, 80, read.Headers.ETag!.Tag));
        Assert.Equal(HttpStatusCode.PreconditionFailed, await PatchAsync(id, 90, read.Headers.ETag!.Tag));
        Assert.Equal(HttpStatusCode.BadRequest, await PatchAsync(id, 101, "*"));
        Assert.Equal(80, (await _client.JobAsync(id)).Priority);
    }

    [Fact]
    public async Task Events_WholeSeries_StreamsLiveAndEndsAfterTheLastState()
    {
        var worker = await ProtocolWorker.StartAsync(fixture.Bus, fixture.ClientOf(Roles.Service), _kind);
        var id = await fixture.Bus.SubmitAsync(_kind);
        var offer = await worker.TakeAsync(id);
        var reading = ReadEventsAsync(id);
        await worker.BeatAsync(offer, 0.5, "half", "line one", "line two");
        await worker.CompleteAsync(offer);

        var events = await reading.WaitAsync(Eventually.Deadline);

        Assert.Equal(["state", "state", "state", "log", "log", "progress", "state"], events.Select(entry => entry.Type));
        Assert.Equal(Enumerable.Range(1, 7).Select(seq => (long)seq), events.Select(entry => entry.Id));
        Assert.Equal(["queued", "leased", "running", "succeeded"],
            events.Where(entry => entry.Type == "state").Select(entry => entry.Data.GetProperty("state").GetString()));
        Assert.Equal(0.5, events[5].Data.GetProperty("progress").GetDouble());
        Assert.Equal("line two", events[4].Data.GetProperty("line").GetString());
        Assert.Equal(events.Skip(3).Select(entry => entry.Id), (await ReadEventsAsync(id, lastEventId: "3")).Select(entry => entry.Id));
    }

    [Fact]
    public async Task Events_BadLastEventId_Is400()
    {
        var id = await fixture.Bus.SubmitAsync(_kind);
        await _client.JobAsync(id, JobState.Queued);
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/jobs/{id}/events") { Headers = { { "Last-Event-ID", "-1" } } };
        using var response = await _client.SendAsync(request);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task Prune_JobEndedLongAgo_KeepsStatesOnly()
    {
        var worker = await ProtocolWorker.StartAsync(fixture.Bus, fixture.ClientOf(Roles.Service), _kind);
        var id = await fixture.Bus.SubmitAsync(_kind);
        var offer = await worker.TakeAsync(id);
        await worker.BeatAsync(offer, 0.5, "half", "line");
        await worker.CompleteAsync(offer);
        await _client.JobAsync(id, JobState.Succeeded);
        await fixture.Database.ScalarAsync<object>($"update jobs set ended_at = now() - interval '31 days' where id = '{id}'");

        await fixture.Services.GetServices<IHostedService>().OfType<EventPruner>().Single().PruneAsync(CancellationToken.None);

        Assert.Equal(["state", "state", "state", "state"], (await ReadEventsAsync(id)).Select(entry => entry.Type));
    }

    private async Task<Page<JobView>> PageAsync(string query) =>
        (await _client.GetFromJsonAsync<Page<JobView>>($"/api/v1/jobs{query}", PlatformJson.Options))!;

    private async Task<HttpStatusCode> PatchAsync(Guid id, int priority, string? ifMatch)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, $"/api/v1/jobs/{id}") { Content = JsonContent.Create(new { priority }) };
        if (ifMatch is not null)
        {
            request.Headers.IfMatch.Add(ifMatch == "*" ? EntityTagHeaderValue.Any : new EntityTagHeaderValue(ifMatch));
        }
        using var response = await _client.SendAsync(request);
        return response.StatusCode;
    }

    private async Task<List<(long Id, string Type, JsonElement Data)>> ReadEventsAsync(Guid id, string? lastEventId = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/jobs/{id}/events");
        if (lastEventId is not null)
        {
            request.Headers.Add("Last-Event-ID", lastEventId);
        }
        using var response = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        var events = new List<(long, string, JsonElement)>();
        await foreach (var item in System.Net.ServerSentEvents.SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            events.Add((long.Parse(item.EventId!), item.EventType, JsonSerializer.Deserialize<JsonElement>(item.Data)));
        }
        return events;
    }
}
