using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;
using DeepSeek.ServiceDefaults;
using DeepSeek.Testing;

namespace DeepSeek.Scheduling.Tests.Service;

/// <summary>A worker that does exactly what a test tells it, message by message.</summary>
internal sealed class ProtocolWorker
{
    private readonly TestBus _bus;
    private readonly HttpClient _http;
    private readonly string _kind;

    private ProtocolWorker(TestBus bus, HttpClient http, string kind) => (_bus, _http, _kind) = (bus, http, kind);

    public string Id { get; } = "worker-" + Guid.NewGuid().ToString("N")[..8];

    public static async Task<ProtocolWorker> StartAsync(TestBus bus, HttpClient http, string kind, int slots = 1)
    {
        await bus.ListenAsync<RunJob>(JobKinds.Queue(kind));
        var worker = new ProtocolWorker(bus, http, kind);
        await worker.SeenAsync(slots);
        return worker;
    }

    /// <summary>Another process on the same queue.</summary>
    public ProtocolWorker Twin() => new(_bus, _http, _kind);

    public Task SeenAsync(int slots) => _bus.PublishAsync(new WorkerSeen
    {
        WorkerId = Id, Kind = _kind, Slots = slots, Busy = 0, Host = "test", At = DateTimeOffset.UtcNow,
    });

    /// <summary>The first offer of the job that was made after <paramref name="after"/>.</summary>
    public Task<RunJob> OfferAsync(Guid job, RunJob? after = null) =>
        _bus.ReceiveAsync<RunJob>(offer => offer.JobId == job && offer.Attempt > (after?.Attempt ?? 0));

    /// <summary>Accepts the first offer after <paramref name="after"/> that is still open.</summary>
    public async Task<RunJob> TakeAsync(Guid job, RunJob? after = null)
    {
        while (true)
        {
            after = await OfferAsync(job, after);
            if (await AcquireAsync(after) == HttpStatusCode.OK)
            {
                return after;
            }
        }
    }

    public async Task<HttpStatusCode> AcquireAsync(RunJob offer)
    {
        using var response = await _http.PostAsJsonAsync(
            $"/api/v1/jobs/{offer.JobId}/lease", new AcquireLease { LeaseId = offer.LeaseId, WorkerId = Id }, PlatformJson.Options);
        return response.StatusCode;
    }

    public async Task<JobDirective> BeatAsync(RunJob offer, double progress = 0, string message = "", params string[] log)
    {
        using var response = await _http.PutAsJsonAsync(
            $"/api/v1/jobs/{offer.JobId}/lease/{offer.LeaseId}",
            new Heartbeat { Progress = progress, Message = message, Log = log }, PlatformJson.Options);
        response.EnsureSuccessStatusCode();
        return (await response.Content.ReadFromJsonAsync<HeartbeatReply>(PlatformJson.Options))!.Directive;
    }

    /// <summary>These return the message's id, by which a test can wait until it was handled.</summary>
    public Task<Guid> CompleteAsync(RunJob offer) =>
        TellAsync(new JobCompleted { JobId = offer.JobId, LeaseId = offer.LeaseId, ResultUri = $"/api/v1/things/{offer.SubjectId}" });

    public Task<Guid> FailAsync(RunJob offer, string error, bool retryable) =>
        TellAsync(new JobFailed { JobId = offer.JobId, LeaseId = offer.LeaseId, Error = error, Retryable = retryable });

    public Task<Guid> YieldAsync(RunJob offer) => TellAsync(new JobYielded { JobId = offer.JobId, LeaseId = offer.LeaseId });

    public Task<Guid> CancelledAsync(RunJob offer) => TellAsync(new JobCancelled { JobId = offer.JobId, LeaseId = offer.LeaseId });

    private async Task<Guid> TellAsync<T>(T message)
        where T : class
    {
        var id = Guid.NewGuid();
        await _bus.PublishAsync(message, id);
        return id;
    }
}
