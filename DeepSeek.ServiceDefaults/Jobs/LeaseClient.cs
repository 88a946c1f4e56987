using System.Net;
using System.Net.Http.Json;
using DeepSeek.Contracts.Jobs;

namespace DeepSeek.ServiceDefaults.Jobs;

/// <summary>The worker's calls to Scheduling.</summary>
internal sealed class LeaseClient(HttpClient http)
{
    /// <summary>False when the lease is somebody else's or over.</summary>
    public async Task<bool> AcquireAsync(RunJob offer, string workerId, CancellationToken cancellationToken)
    {
        using var response = await http.PostAsJsonAsync(
            $"/api/v1/jobs/{offer.JobId}/lease", new AcquireLease { LeaseId = offer.LeaseId, WorkerId = workerId },
            PlatformJson.Options, cancellationToken);
        if (response.StatusCode is HttpStatusCode.Conflict or HttpStatusCode.NotFound)
        {
            return false;
        }
        response.EnsureSuccessStatusCode();
        return true;
    }

    public async Task<JobDirective> BeatAsync(RunJob offer, Heartbeat beat, CancellationToken cancellationToken)
    {
        using var response = await http.PutAsJsonAsync(
            $"/api/v1/jobs/{offer.JobId}/lease/{offer.LeaseId}", beat, PlatformJson.Options, cancellationToken);
        response.EnsureSuccessStatusCode();
        var reply = await response.Content.ReadFromJsonAsync<HeartbeatReply>(PlatformJson.Options, cancellationToken);
        return reply!.Directive;
    }

    public async Task EndAsync(RunJob offer, EndLease end, CancellationToken cancellationToken)
    {
        using var response = await http.PostAsJsonAsync(
            $"/api/v1/jobs/{offer.JobId}/lease/{offer.LeaseId}/end", end, PlatformJson.Options, cancellationToken);
        response.EnsureSuccessStatusCode();
    }

    /// <summary>Scheduling itself answered with a fault, rather than nobody or somebody on the way.</summary>
    public static bool IsAnswered(Exception exception) => exception is HttpRequestException
    {
        StatusCode: not (null or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout),
    };

    /// <summary>Scheduling is away or says so: worth another try.</summary>
    public static bool IsTransient(Exception exception) =>
        exception is HttpRequestException or Polly.ExecutionRejectedException or IOException or System.Text.Json.JsonException;
}
